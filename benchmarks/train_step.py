"""What a training step costs: seconds, samples per second, share of time waiting for data, peak memory.

python -m benchmarks.train_step stage2 CONFIG.toml --steps 20 --json figures.json

The settings are those of a training (docs/training.md); nothing is kept of what was learned. The first steps, during
which reading processes start and memory is first taken, are not counted.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.render import machine, peak_memory_mib, print_table
from model.training.config import Stage1Config, Stage2Config, VaeTrainingConfig, read_config
from model.training.stages import stage_1, stage_2, vae
from model.training.trainer import Meter, Trainer

UNCOUNTED_STEPS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["vae", "stage1", "stage2"])
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("--steps", type=int, default=20, help="steps to count")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as output:
        trainer = open_trainer(options.command, options.config, Path(output), UNCOUNTED_STEPS + options.steps)
        figures = {"machine": machine(), "command": options.command, **measure(trainer, options.steps)}
    print_table(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


def open_trainer(command: str, path: Path, output: Path, steps: int) -> Trainer:
    """The training these settings describe, for so many steps."""
    if command == "vae":
        vae_config = read_config(path, VaeTrainingConfig)
        return vae(replace(vae_config, run=replace(vae_config.run, output=output, steps=steps)))
    if command == "stage1":
        config_1 = read_config(path, Stage1Config)
        return stage_1(replace(config_1, run=replace(config_1.run, output=output, steps=steps)))
    config_2 = read_config(path, Stage2Config)
    return stage_2(replace(config_2, run=replace(config_2.run, output=output, steps=steps)))


def measure(trainer: Trainer, steps: int) -> dict[str, Any]:
    """Take the steps and note what they cost."""
    batches, meter = trainer.batches(), Meter()
    for _ in range(UNCOUNTED_STEPS):
        trainer.take_step(batches, meter)
    meter.read()
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        float(trainer.take_step(batches, meter)["loss"])  # waits for the device
        seconds.append(time.perf_counter() - started)
    return {
        "steps": steps,
        "seconds_per_step_median": statistics.median(seconds),
        "seconds_per_step_worst": max(seconds),
        **meter.read(),
        **peak_memory_mib(torch.cuda.is_available()),
    }


if __name__ == "__main__":
    main()
