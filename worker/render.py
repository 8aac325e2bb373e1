"""One attempt at a job, from its lease to its outcome: succeeded, failed, canceled, or back in the queue."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from core.errors import JobNotFound, QueueUnavailable, StorageUnavailable
from core.job_store import Lease, LeaseLost
from core.jobs import JobStatus
from core.reconciler import announce_missing
from core.tracing import record_span, span
from worker import failures
from worker.attempt import Attempt, attempt_folder, job_folder
from worker.bench import Workbench
from worker.interruptions import JobCanceled, ShuttingDown
from worker.lease_keeper import LeaseKeeper
from worker.measures import busy_with, count_finished, show_gpu_memory
from worker.patience import keep_trying

log = structlog.get_logger(__name__)


def run_render(lease: Lease, bench: Workbench, asked_ns: int | None = None) -> None:
    """
    Make one attempt and write its outcome into the job's record. Raises nothing that is the job's own fault.

    `asked_ns` is when the lease was asked for, in ns since the epoch, for the trace of the job.
    """
    facts: dict[str, Any] = {"job_id": lease.job.id, "attempt": lease.token}
    step = span("attempt", parent=lease.job.traceparent, kind="consumer", worker_id=lease.worker_id, **facts)
    with structlog.contextvars.bound_contextvars(**facts), step, busy_with(lease):
        if asked_ns is not None:
            record_span("claim", asked_ns, time.time_ns())
        try:
            renew_s, vitals = bench.settings.lease_renew_s, bench.vitals
            with LeaseKeeper(bench.store, lease, renew_s=renew_s, stopping=bench.stopping, vitals=vitals) as keeper:
                _attempt(lease, bench, keeper)
        except LeaseLost as error:
            log.warning("lease_lost", reason=str(error))
            _tidy(bench, _of_no_use(lease, bench))
        finally:
            show_gpu_memory(bench.gpu_memory())


def _of_no_use(lease: Lease, bench: Workbench) -> str:
    """What to remove after a lost lease: all of a job that came to nothing, or else what only this attempt uses."""
    try:
        status = bench.store.get(lease.job.id).status
    except JobNotFound:
        return job_folder(lease)
    except QueueUnavailable:
        return attempt_folder(lease)
    came_to_nothing = status.is_terminal and status is not JobStatus.SUCCEEDED
    return job_folder(lease) if came_to_nothing else attempt_folder(lease)


def _attempt(lease: Lease, bench: Workbench, keeper: LeaseKeeper) -> None:
    """Render, and write down how it ended. Only LeaseLost gets out: then the record belongs to somebody else."""
    try:
        with bench.scratch.folder(lease.job.id) as scratch:
            attempt = Attempt(lease, bench, keeper, scratch)
            result = attempt.run()
        _finish(lease, bench, lambda: bench.store.succeed(lease, result, attempt.timings))
        log.info("job_succeeded", key=result and result.key, bytes=result and result.bytes)
        _tidy(bench, f"{job_folder(lease)}/segments")
    except LeaseLost:
        raise
    except JobCanceled:
        _finish(lease, bench, lambda: bench.store.finish_canceled(lease))
        log.info("job_canceled")
        _tidy(bench, job_folder(lease))
    except ShuttingDown:
        _hand_back(lease, bench)
        _announce(lease, bench)
    except Exception as error:  # noqa: BLE001  the record must say how it ended, and the worker goes on
        _fail(lease, bench, error)


def _fail(lease: Lease, bench: Workbench, error: Exception) -> None:
    failure = failures.describe(error)
    report = log.exception if failure.is_bug else log.warning
    report("attempt_failed", code=failure.report.code, reason=str(error))
    if failure.attempt_again and lease.token < bench.settings.max_attempts:
        _hand_back(lease, bench)
    else:
        _finish(lease, bench, lambda: bench.store.fail(lease, failure.report))
        _tidy(bench, job_folder(lease))
    if failure.start_afresh:
        bench.start_afresh()


def _hand_back(lease: Lease, bench: Workbench) -> None:
    _record(bench, lambda: bench.store.release(lease))
    log.info("job_released")


def _announce(lease: Lease, bench: Workbench) -> None:
    """Let another worker go on at once. Without Redis the reconciler does it later."""
    with suppress(QueueUnavailable):
        bench.queue.enqueue(lease.job.id)


def _finish(lease: Lease, bench: Workbench, write: Callable[[], None]) -> None:
    _record(bench, write)
    count_finished(bench.store, lease.job.id)
    with suppress(QueueUnavailable):  # another job of this tenant may have waited for the place
        announce_missing(bench.store, bench.queue)


def _record(bench: Workbench, write: Callable[[], None]) -> None:
    """Make a final write, through an outage of the store if need be; the lease keeper goes on renewing meanwhile."""
    keep_trying(
        write,
        while_raising=QueueUnavailable,
        give_up_after_s=bench.store_patience_s,
        before_retry=bench.vitals.sign_of_life,
    )


def _tidy(bench: Workbench, *folders: str) -> None:
    """Remove objects nobody needs. A failure costs space, not the job."""
    try:
        for folder in folders:
            bench.storage.delete_prefix(folder)
    except StorageUnavailable as error:
        log.warning("leftovers_in_storage", folders=folders, reason=error.message)
