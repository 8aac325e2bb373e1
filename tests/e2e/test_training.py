"""Training as it is started: processes that are killed, and several that train together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.checkpoint import WEIGHT_FILES
from tests.model.training.runs import as_toml, make_inputs, stage_1_config

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
ALONE = (sys.executable, "-m", "model.training")
PAIR = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "model.training")
STEPS = 6
START_WITHIN_S = 120


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def config_file(inputs: Path, output: Path, **run: object) -> Path:
    path = output.with_suffix(".toml")
    path.write_text(as_toml(stage_1_config(inputs, output, steps=STEPS, **run)))
    return path


def train(config: Path, command: tuple[str, ...] = ALONE) -> None:
    result = subprocess.run(
        [*command, "stage1", str(config)], env=ENVIRONMENT, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr


def losses(output: Path) -> list[float]:
    """The loss of every step, as the board shows it."""
    events = EventAccumulator(str(output / "tensorboard")).Reload()
    return [event.value for event in events.Scalars("loss")]


@pytest.fixture(scope="module")
def uninterrupted(inputs: Path) -> Path:
    output = inputs / "run"
    train(config_file(inputs, output, save_every=100))
    return output


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, inputs: Path, uninterrupted: Path) -> None:
    output = tmp_path / "run"
    config = config_file(inputs, output, save_every=1)
    process = subprocess.Popen([*ALONE, "stage1", str(config)], env=ENVIRONMENT, stderr=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + START_WITHIN_S
    while not list(output.glob("states/step-*.pt")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    states = sorted(path.name for path in output.glob("states/step-*.pt"))
    assert states[-1] < f"step-{STEPS:08d}.pt"

    train(config)

    for name in WEIGHT_FILES:
        assert (output / "weights" / name).read_bytes() == (uninterrupted / "weights" / name).read_bytes(), name
    assert losses(output) == losses(uninterrupted)


def test_two_processes_train_as_one(tmp_path: Path, inputs: Path, uninterrupted: Path) -> None:
    output = tmp_path / "run"

    train(config_file(inputs, output, save_every=100), PAIR)

    assert len(list((output / "tensorboard").iterdir())) == 1  # one of them speaks for both: they know of each other
    assert losses(output) == pytest.approx(losses(uninterrupted), rel=1e-4)
    assert len(losses(output)) == STEPS
    for name in WEIGHT_FILES:
        one, two = (load_file(folder / "weights" / name) for folder in (uninterrupted, output))
        assert all(torch.allclose(one[key], two[key], atol=1e-4) for key in one), name
