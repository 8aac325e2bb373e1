"""The loop of every training: batches in, steps taken, states and weights out."""

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from model.faces.detector import Image
from model.training.board import Board
from model.training.config import OptimizerConfig, RunConfig
from model.training.ema import Ema
from model.training.errors import ConfigError, TrainingError
from model.training.samples import Batch, StepBatches, TrainingSamples, load_batches
from model.training.state import RunState, latest_state, recipe_of, write_state

WEIGHTS_FOLDER = "weights"
PUBLISHED_FOLDER = "published"


class Task(Protocol):
    """What is trained."""

    @property
    def network(self) -> nn.Module:
        """Where the parameters lie; called by `losses`."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""

    def to(self, device: torch.device) -> None:
        """Move everything a step needs."""

    def checkpoint_gradients(self) -> None:
        """Have activations computed again on the way back instead of kept."""

    def losses(self, network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The loss to descend, `loss`, and figures for the board, each a mean over the batch."""

    def strips(self) -> Iterator[Image]:
        """Pictures (H, W, 3) uint8 RGB of what was learned."""

    def save(self, folder: Path, name: str) -> None:
        """Write the weights as they are now."""

    def save_last(self, folder: Path, name: str) -> None:
        """Write them as others want them, too, when there is no more to learn."""


class Config(Protocol):
    """The settings of any training."""

    @property
    def run(self) -> RunConfig:
        """What every run needs to know."""

    @property
    def optimizer(self) -> OptimizerConfig:
        """AdamW's numbers."""


class Trainer:
    """Trains a task until it has taken its steps, from where an earlier run in the same folder was interrupted.

    step         : steps taken so far
    last_figures : what went to the board last, by name
    """

    def __init__(self, task: Task, config: Config, samples: TrainingSamples, accelerator: Accelerator) -> None:
        """Raises ConfigError when the folder holds another run, or the batch cannot be shared out."""
        self.task, self._config, self._run = task, config, config.run
        self.last_figures: dict[str, float] = {}
        self._samples, self._accelerator = samples, accelerator
        self.step = 0
        self._recipe = recipe_of(config, samples.clip_ids())
        shares = accelerator.num_processes * self._run.accumulation
        if self._run.batch_size % shares:
            raise ConfigError(f"A batch of {self._run.batch_size} cannot be divided into {shares} equal parts.")
        task.to(accelerator.device)
        optimizer = _adamw(task.parameters, config.optimizer)
        self._ema = Ema(task.parameters, self._run.ema_decay)
        state = latest_state(self._run.output, self._recipe)
        if state is not None:
            self._resume(state, optimizer)
        if self._run.gradient_checkpointing:
            task.checkpoint_gradients()
        self._network, self._optimizer = accelerator.prepare(task.network, optimizer)

    def train(self) -> None:
        """Take the steps that are left. Raises TrainingError when the loss is not a number any more."""
        accelerator, run = self._accelerator, self._run
        batches, meter = self.batches(), Meter()
        with Board(run.output, self.step, enabled=accelerator.is_main_process) as board, _progress(accelerator) as bar:
            shown = bar.add_task("", total=run.steps, completed=self.step)
            while self.step < run.steps:
                figures = self.take_step(batches, meter)
                last = self.step == run.steps
                if last or self.step % run.log_every == 0:
                    self.last_figures = self._numbers(figures, meter)
                    board.scalars(self.last_figures, self.step)
                    bar.update(shown, description=f"loss {self.last_figures['loss']:.4f}")
                bar.update(shown, completed=self.step)
                if last or self.step % run.sample_every == 0:
                    self._show(board)
                if last or self.step % run.save_every == 0:
                    self._save(last=last)

    def batches(self) -> Iterator[Batch]:
        """What this process is to see of the steps that are left."""
        run, accelerator = self._run, self._accelerator
        processes, rank = accelerator.num_processes, accelerator.process_index
        shares = StepBatches(run.batch_size, self.step, run.steps, run.accumulation, processes, rank)
        return load_batches(self._samples, shares, run.workers, pinned=accelerator.device.type != "cpu")

    def take_step(self, batches: Iterator[Batch], meter: "Meter") -> dict[str, Tensor]:
        """Descend once. Returns what the task says of the batch, a mean over its parts, and the gradient's norm."""
        accelerator, parts = self._accelerator, self._run.accumulation
        figures: dict[str, Tensor] = {}
        for part in range(parts):
            batch = meter.wait_for(batches).to(accelerator.device)
            alone = nullcontext() if part == parts - 1 else accelerator.no_sync(self._network)
            with alone, accelerator.autocast():
                losses = self.task.losses(self._network, batch, self.step)
                accelerator.backward(losses["loss"] / parts)
            for name, value in losses.items():
                figures[name] = figures.get(name, torch.zeros_like(value)) + value.detach() / parts
        parameters = list(self.task.parameters.values())
        figures["gradient_norm"] = accelerator.clip_grad_norm_(parameters, self._config.optimizer.max_gradient_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._config.optimizer, self.step, self._run.steps)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.step += 1
        self._ema.update(self.step)
        meter.samples += self._run.batch_size
        return figures

    def _numbers(self, figures: dict[str, Tensor], meter: "Meter") -> dict[str, float]:
        """The figures of a step as numbers, means over all processes."""
        numbers = {name: float(self._accelerator.reduce(value, "mean")) for name, value in figures.items()}
        if not math.isfinite(numbers["loss"]):
            raise TrainingError(
                f"The loss of step {self.step} is not a number: lower the learning rate or the precision."
            )
        numbers["learning_rate"] = self._optimizer.param_groups[0]["lr"]
        return numbers | meter.read()

    def _show(self, board: Board) -> None:
        """Draw strips with the averaged weights, in the main process; the others wait when it is time to save."""
        if self._accelerator.is_main_process:
            with self._ema.in_place():
                board.pictures(self.task.strips(), self.step)

    def _save(self, *, last: bool) -> None:
        """Write the averaged weights, then the state: a run that is killed in between writes both again."""
        if self._accelerator.is_main_process:
            output, name = self._run.output, f"{self._run.output.name}, step {self.step}"
            new, weights = output / f"{WEIGHTS_FOLDER}.new", output / WEIGHTS_FOLDER
            with self._ema.in_place():
                self.task.save(new, name)
                if last:
                    self.task.save_last(output / PUBLISHED_FOLDER, name)
            shutil.rmtree(weights, ignore_errors=True)
            new.rename(weights)
            write_state(self._state(), output, self._run.kept_states)
        self._accelerator.wait_for_everyone()

    def _state(self) -> RunState:
        scaler = self._accelerator.scaler
        return RunState(
            step=self.step,
            parameters={name: parameter.detach() for name, parameter in self.task.parameters.items()},
            averages=self._ema.averages,
            optimizer=self._optimizer.state_dict(),
            scaler=None if scaler is None else scaler.state_dict(),
            recipe=self._recipe,
        )

    @torch.no_grad()
    def _resume(self, state: RunState, optimizer: torch.optim.AdamW) -> None:
        for name, parameter in self.task.parameters.items():
            parameter.copy_(state.parameters[name])
        self._ema.load(state.averages)
        optimizer.load_state_dict(state.optimizer)
        if self._accelerator.scaler is not None and state.scaler is not None:
            self._accelerator.scaler.load_state_dict(state.scaler)
        self.step = state.step


class Meter:
    """How fast samples are worked off, and how much of the time is spent waiting for them.

    samples : worked off since the last reading, in all processes
    """

    def __init__(self) -> None:
        self.samples = 0
        self._waited, self._since = 0.0, time.perf_counter()

    def wait_for(self, batches: Iterator[Batch]) -> Batch:
        """The next batch."""
        started = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - started
        return batch

    def read(self) -> dict[str, float]:
        """The figures since the last reading."""
        now = time.perf_counter()
        seconds = now - self._since
        figures = {"samples_per_second": self.samples / seconds, "data_wait_share": self._waited / seconds}
        self.samples, self._waited, self._since = 0, 0.0, now
        return figures


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The rate of the step after `step` steps, of `steps` in all."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.schedule == "constant":
        return config.learning_rate * warm
    return config.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def _adamw(parameters: dict[str, nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters.values(),
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
    )


def _progress(accelerator: Accelerator) -> Progress:
    columns: tuple[Any, ...] = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, disable=not accelerator.is_main_process)
