"""From "this stage has done so many frames" to the progress of the whole job: a fraction, and when it will be done."""

import time
from collections.abc import Callable
from enum import StrEnum

from core.jobs import Progress
from model.progress import Stage


class WorkerStage(StrEnum):
    """The stages that only a worker knows; together with `model.progress.Stage` the one vocabulary of stages."""

    FETCH = "fetch"
    PUBLISH = "publish"


AnyStage = Stage | WorkerStage

SPANS: dict[AnyStage, tuple[float, float]] = {
    WorkerStage.FETCH: (0.0, 0.03),
    Stage.DECODE_MEDIA: (0.03, 0.05),
    Stage.TRACK_FACES: (0.05, 0.13),
    Stage.CROP_FACES: (0.13, 0.85),
    Stage.ENCODE_AUDIO: (0.13, 0.85),
    Stage.PLAN_WINDOWS: (0.13, 0.85),
    Stage.DENOISE: (0.13, 0.85),
    Stage.COMPOSITE: (0.85, 0.97),
    Stage.ENCODE_MEDIA: (0.85, 0.97),
    WorkerStage.PUBLISH: (0.97, 1.0),
}
"""Where each stage begins and ends on the way from 0 to 1. Stages that take turns share their span."""

ETA_FROM = 0.05
"""No estimate is given before this much of the work has been done here: it would be a guess."""


class ProgressMeter:
    """Turns stage progress into job progress that never runs backwards. Not shared between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._fraction = 0.0
        self._inherited = 0.0

    def at(self, stage: AnyStage, done: int, total: int) -> Progress:
        """The job's progress when `stage` has done `done` of its `total` frames (0 when unknown)."""
        start, stop = SPANS[stage]
        within = min(done / total, 1.0) if total else 0.0
        self._fraction = max(self._fraction, start + (stop - start) * within)
        return Progress(
            stage=stage.value, fraction=self._fraction, frames_done=done, frames_total=total, eta_s=self._eta_s()
        )

    def inherit(self, stage: AnyStage, frames: int, total: int) -> None:
        """Count work that an earlier attempt has done: it moves the fraction, but says nothing about the speed here."""
        start, stop = SPANS[stage]
        self._inherited += (stop - start) * frames / total

    def _eta_s(self) -> float | None:
        done_here = self._fraction - self._inherited
        if done_here < ETA_FROM:
            return None
        return (self._clock() - self._started) * (1.0 - self._fraction) / done_here


class StageClock:
    """
    Seconds spent in each stage, told from which stage reports when: the time up to a report is its stage's.

    `on_run` is told of each run of one stage when the next one begins: its name, and seconds by the clock from and to.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        on_run: Callable[[str, float, float], None] = lambda stage, start, end: None,
    ) -> None:
        self._clock = clock
        self._on_run = on_run
        self._last = self._run_start = clock()
        self._stage: AnyStage | None = None
        self.seconds: dict[AnyStage, float] = {}

    def at(self, stage: AnyStage) -> bool:
        """Book the time since the last report on `stage`; whether a run of it begins."""
        begins = stage is not self._stage
        if begins:
            self.stop()
            self._stage = stage
        now = self._clock()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
        return begins

    def stop(self) -> None:
        """No report follows for the moment: the run of this stage is over."""
        if self._stage is not None:
            self._on_run(self._stage.value, self._run_start, self._last)
        self._stage, self._run_start = None, self._last
