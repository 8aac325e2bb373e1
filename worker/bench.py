"""The tools on a worker's bench: what a render needs besides its job. Built once by `worker.model_host`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from core.job_store import JobStore
from core.outgoing import Downloaded
from core.queue import JobQueue
from core.settings import Settings
from core.storage import Storage
from model.plan import DubOptions, DubPlan, MediaLimits, Segment
from model.preflight import Preflight
from model.progress import OnProgress
from model.survey import Survey
from worker.preflight import RenderSpeed
from worker.scratch import ScratchHome


class Report(Protocol):
    """What a finished file is; `model.pipeline.DubReport` is one. Sizes in px, fps in frames per second."""

    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def fps(self) -> float: ...  # noqa: D102
    @property
    def duration_seconds(self) -> float: ...  # noqa: D102
    @property
    def frames_synced(self) -> int: ...  # noqa: D102
    @property
    def frames_passed_through(self) -> int: ...  # noqa: D102
    @property
    def frames_outside(self) -> int: ...  # noqa: D102
    @property
    def weights(self) -> str: ...  # noqa: D102


class Pipeline(Protocol):
    """The functions of `model.pipeline`, bound to loaded weights."""

    def survey(
        self,
        video: Path,
        audio: Path | None,
        options: DubOptions,
        limits: MediaLimits,
        /,
        *,
        may_be_silent: bool,
        on_progress: OnProgress,
    ) -> Survey:
        """Look at the inputs."""

    def preflight(self, found: Survey, /) -> Preflight:
        """Report on what was found."""

    def thumbnails(self, found: Survey, folder: Path, on_progress: OnProgress, /) -> Mapping[str, Path]:
        """Write a JPEG of each face in the report; their paths by face ids."""

    def plan(self, found: Survey, /) -> DubPlan:
        """Decide the dub."""

    def render_segment(self, plan: DubPlan, segment: Segment, out_path: Path, on_progress: OnProgress, /) -> None:
        """Write the generated crops of one segment to `out_path`."""

    def compose(
        self, plan: DubPlan, segment_paths: Mapping[int, Path], out_path: Path, on_progress: OnProgress, /
    ) -> Report:
        """Write the finished video to `out_path`."""


OnBytes = Callable[[int, int | None], None]
Download = Callable[[str, Path, OnBytes], Downloaded]
"""Brings what an http(s) URL names to a path: `core.outgoing.download` with the operator's limits and policy."""


class Vitals(Protocol):
    """Shows a watcher outside this process that a render goes on; `worker.flags.SharedFlags` is one."""

    def sign_of_life(self) -> None:
        """The render has come a step further."""

    def rest(self) -> None:
        """There is no render to watch."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """
    Everything outside the job: the loaded pipeline and the doors to the outside.

    `start_afresh` is called after a bug, when nobody knows what state the process is in: a CUDA error, for one, fails
    everything that follows it. `gpu_memory` tells the bytes by kind; empty without a GPU.
    """

    worker_id: str
    pipeline: Pipeline
    weights_sha256: str
    store: JobStore
    queue: JobQueue
    storage: Storage
    download: Download
    scratch: ScratchHome
    settings: Settings
    stopping: Callable[[], bool]
    start_afresh: Callable[[], None]
    vitals: Vitals
    gpu_memory: Callable[[], Mapping[str, int]] = dict
    speed: RenderSpeed = field(default_factory=RenderSpeed)
    storage_patience_s: float = 60.0
    store_patience_s: float = 600.0
