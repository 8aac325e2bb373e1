"""What a worker counts: starts, ends, and how fast the work between them was."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from core import metrics
from core.errors import JobNotFound, QueueUnavailable
from core.job_store import JobStore, Lease
from core.jobs import JobId
from model.progress import Stage, StageProgress
from worker.bench import Report
from worker.progress import AnyStage, WorkerStage

log = structlog.get_logger(__name__)


@contextmanager
def busy_with(lease: Lease) -> Iterator[None]:
    """Count the start of an attempt, and say that the worker is busy until the block ends."""
    job = lease.job
    metrics.JOB_ATTEMPTS.labels("first" if lease.token == 1 else "again").inc()
    if lease.token == 1 and job.started_at is not None:
        metrics.QUEUE_WAIT_SECONDS.observe((job.started_at - job.created_at).total_seconds())
    metrics.WORKER_BUSY.set(1)
    try:
        yield
    finally:
        metrics.WORKER_BUSY.set(0)
        show_stage(None)


def begin_at_zero() -> None:
    """Show every stage before the first job comes to it, so that the first job is counted as well: see core.metrics."""
    for stage in (*WorkerStage, *Stage):
        metrics.STAGE_DURATION_SECONDS.labels(stage.value)
    for stage in Stage:
        metrics.STAGE_FRAMES.labels(stage.value)
    for result in ("synced", "passthrough_noface", "passthrough_outside"):
        metrics.FRAMES.labels(result)
    show_stage(None)


def show_stage(stage: AnyStage | None) -> None:
    """Say where the worker is; None: at no job."""
    for known in (*WorkerStage, *Stage):
        metrics.WORKER_STAGE.labels(known.value).set(known is stage)


def show_gpu_memory(bytes_by_kind: Mapping[str, int]) -> None:
    """Say what the renders of this process have needed. Nothing on a machine without a GPU."""
    for kind, size in bytes_by_kind.items():
        metrics.GPU_MEMORY_BYTES.labels(kind).set(size)


class FrameCounter:
    """Counts frames while stages report them. One for each thing that goes through the stages: a file, a segment."""

    def __init__(self) -> None:
        self._done: dict[Stage, int] = {}

    def at(self, progress: StageProgress) -> None:
        """Count what the stage has done since its last report; a report that repeats itself adds nothing."""
        new = progress.frames_done - self._done.get(progress.stage, 0)
        if new > 0:
            metrics.STAGE_FRAMES.labels(progress.stage.value).inc(new)
            self._done[progress.stage] = progress.frames_done


def count_finished(store: JobStore, job_id: JobId) -> None:
    """Count a job that this worker has just ended, as its record says. A number may be missed, a job may not."""
    try:
        metrics.record_finished(store.get(job_id))
    except (QueueUnavailable, JobNotFound) as error:
        log.warning("end_not_counted", reason=error.message)


def count_rendered(report: Report, stages: Mapping[AnyStage, float]) -> None:
    """Count the frames of a finished attempt, and the seconds it has spent in each stage."""
    metrics.FRAMES.labels("synced").inc(report.frames_synced)
    metrics.FRAMES.labels("passthrough_noface").inc(report.frames_passed_through - report.frames_outside)
    metrics.FRAMES.labels("passthrough_outside").inc(report.frames_outside)
    for stage, seconds in stages.items():
        metrics.STAGE_DURATION_SECONDS.labels(stage.value).observe(seconds)
    metrics.REALTIME_FACTOR.observe(sum(stages.values()) / report.duration_seconds)
