"""Puts right what crashes leave behind, so that no accepted job is lost: run every few seconds by every API process."""

from dataclasses import dataclass

import structlog

from core.job_store.protocol import JobStore
from core.jobs import AttemptOutcome, Job, JobId
from core.metrics import DEADLINE_EXPIRED, LEASES_LOST, record_finished
from core.queue import JobQueue

ANNOUNCE_GRACE_S = 10.0
"""How long a message may be on its way before a queued job without one counts as forgotten, in seconds."""

_LOCK_TTL_S = 30.0
_AT_ONCE = 1000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What one pass did: jobs expired, jobs taken from silent workers (as they are now), and jobs announced again."""

    expired: tuple[Job, ...] = ()
    recovered: tuple[Job, ...] = ()
    announced: tuple[JobId, ...] = ()

    @property
    def ended(self) -> tuple[Job, ...]:
        """The jobs that are over: expired, lost too often, or canceled meanwhile. Their webhooks are due."""
        return (*self.expired, *(job for job in self.recovered if job.status.is_terminal))


def reconcile(
    store: JobStore, queue: JobQueue, *, max_lost_attempts: int, announce_grace_s: float = ANNOUNCE_GRACE_S
) -> ReconcileReport:
    """
    One pass, by one process at a time; an empty report when another one is at it.

    Jobs whose deadline has passed expire. Jobs whose worker fell silent are queued again, or are over when that was the
    last chance. Queued jobs for which a message is missing are announced again. Raises QueueUnavailable: the next pass
    goes on where this one stopped.
    """
    with store.exclusive("reconcile", _LOCK_TTL_S) as alone:
        if not alone:
            return ReconcileReport()
        expired = store.expire_overdue()
        for job in expired:
            _note_expired(job)
        recovered = store.recover_lost(max_lost_attempts)
        for job in recovered:
            _note_lost(job)
        announced = announce_missing(store, queue, grace_s=announce_grace_s)
    return ReconcileReport(expired, recovered, announced)


def _note_expired(job: Job) -> None:
    ran = bool(job.attempt_log) and job.attempt_log[-1].outcome is AttemptOutcome.EXPIRED
    DEADLINE_EXPIRED.labels("running" if ran else "queued").inc()
    log.info("job_expired", job_id=job.id, attempt=job.attempts, reason=job.error.message if job.error else "")
    record_finished(job)


def _note_lost(job: Job) -> None:
    LEASES_LOST.inc()
    log.warning("lease_lost", job_id=job.id, attempt=job.attempts, worker_id=job.worker_id, status=job.status)
    if job.status.is_terminal:
        record_finished(job)


def announce_missing(store: JobStore, queue: JobQueue, *, grace_s: float = 0.0) -> tuple[JobId, ...]:
    """
    Send as many messages as are missing: when fewer wait than jobs could start, because they got lost, or because they
    came while the tenant of the jobs had no room. Which job a message names does not matter: it starts the next one.

    Jobs announced less than `grace_s` seconds ago are not counted on: their messages may still be on their way. One
    message too many does no harm, it finds nothing to start; the comparison keeps them from piling up behind a busy
    worker. Returns the jobs announced. Raises QueueUnavailable.
    """
    missing = store.stats().startable - queue.waiting()
    due = store.take_unannounced(grace_s, min(missing, _AT_ONCE)) if missing > 0 else ()
    for job_id in due:
        queue.enqueue(job_id)
        log.info("job_announced_again", job_id=job_id)
    return due
