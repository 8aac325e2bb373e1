"""What a run needs to go on where it was, on disk: whole or not there, whenever the process is killed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.errors import WeightsError
from model.training.errors import ConfigError
from model.weight_files import read_pickle

FOLDER = "states"
STATES = "step-*.pt"

FREE = frozenset(
    {
        *("output", "steps", "workers", "gradient_checkpointing", "log_every", "save_every", "kept_states"),
        *("sample_every", "sample_clips", "sample_steps", "sample_guidance"),
    }
)
"""Settings of a run that may change when it goes on: how long, how fast, and what it tells."""


@dataclass(frozen=True, slots=True)
class RunState:
    """A run after `step` steps: what is learned by name, its average, the optimizer's and the loss scaler's state.

    Generators have no state to keep (model.training.samples), the learning rate follows from the step.
    recipe : what may not change when a run goes on
    """

    step: int
    parameters: dict[str, Tensor]
    averages: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any] | None
    recipe: str


def recipe_of(config: Any, clip_ids: Sequence[str]) -> str:
    """What decides what a run computes, as JSON: its clips, and the settings of its command but those that are FREE."""
    settings = asdict(config)
    settings["run"] = {name: value for name, value in settings["run"].items() if name not in FREE}
    settings["clips"] = hashlib.sha256("\n".join(clip_ids).encode()).hexdigest()
    return json.dumps(settings, default=str, sort_keys=True)


def write_state(state: RunState, output: Path, kept: int) -> None:
    """Write a state and remove all but the latest `kept`."""
    folder = output / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{state.step:08d}.pt"
    torch.save({name: getattr(state, name) for name in state.__slots__}, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    for old in sorted(folder.glob(STATES))[:-kept]:
        old.unlink()


def latest_state(output: Path, recipe: str) -> RunState | None:
    """The last state of a run, or None before its first. Raises ConfigError when it was another run's."""
    paths = sorted((output / FOLDER).glob(STATES))
    if not paths:
        return None
    try:
        content: Mapping[str, Any] = read_pickle(paths[-1])
        state = RunState(**content)
    except (WeightsError, TypeError) as error:
        raise ConfigError(f"{paths[-1]} cannot be read; remove it to go on from the one before: {error}") from error
    if state.recipe != recipe:
        raise ConfigError(f"{output} holds a run with other settings or clips: choose another output, or remove it.")
    return state
