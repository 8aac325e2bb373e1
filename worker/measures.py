"""What a worker counts: starts, ends, and how fast the work between them was."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from core import metrics
from core.errors import JobNotFound, QueueUnavailable
from core.job_store import JobStore, Lease
from core.jobs import JobId
from worker.bench import Report
from worker.progress import AnyStage

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
