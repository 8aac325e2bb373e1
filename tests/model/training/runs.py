"""Training runs small enough for tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import VaeConfig, build_vae, save_vae
from model.networks.config import UNetConfig
from model.training.config import OptimizerConfig, RunConfig, Stage1Config, StartConfig
from tests.model.training.clips import AUDIO_SHAPE, make_dataset

UNET = UNetConfig(channels=(8, 8, 8, 8), attention_heads=1, norm_groups=2, audio_width=AUDIO_SHAPE[1])
VAE = VaeConfig(channels=(8, 8, 8, 8), layers_per_block=1, norm_groups=2, scaling_factor=0.5)


def make_inputs(folder: Path) -> Path:
    """A folder with a dataset and a VAE."""
    make_dataset(folder / "data")
    torch.manual_seed(3)
    save_vae(build_vae(VAE), folder / "vae")
    return folder


def stage_1_config(inputs: Path, output: Path, **run: Any) -> Stage1Config:
    """Six steps of two samples."""
    settings = RunConfig(
        dataset=inputs / "data",
        output=output,
        steps=6,
        batch_size=2,
        workers=0,
        log_every=1,
        save_every=1,
        sample_clips=0,
        ema_decay=0.9,
    )
    return Stage1Config(
        run=replace(settings, **run),
        start=StartConfig(unet=UNET, vae=inputs / "vae"),
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=4),
    )


def as_toml(config: Stage1Config) -> str:
    """The settings as a file has them."""
    run = "\n".join(f"{name} = {_value(getattr(config.run, name))}" for name in config.run.__slots__)
    return f"""
[run]
{run}
[start]
vae = "{config.start.vae}"
[start.unet]
channels = [8, 8, 8, 8]
attention_heads = 1
norm_groups = 2
audio_width = {AUDIO_SHAPE[1]}
[optimizer]
learning_rate = {config.optimizer.learning_rate}
warmup_steps = {config.optimizer.warmup_steps}
"""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f'"{value}"'
