"""What every job store promises."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.batches import Batch
from core.jobs import BatchId, Job, JobEvent, JobFailure, JobId, JobResult, JobStatus, Progress
from core.preflight import PreflightReport

RUNS_KEPT = 50
"""How many jobs of a kind tell how long the next one may take."""


class LeaseLost(Exception):
    """
    The job is no longer this attempt's: it was taken over, finished or purged.

    Not a fault of anybody: stop working on the job, publish nothing, and take the next one.
    """


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job while it is renewed. `token` is the attempt number: it fences off older attempts."""

    job: Job
    token: int
    worker_id: str


@dataclass(frozen=True, slots=True)
class LeaseState:
    """What a worker learns when it renews its lease."""

    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first. `next_cursor` asks for the following ones; None at the end."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """
    The state of the house. `depth` jobs wait, the first of them for `oldest_age_s` seconds (0 when none does).

    `startable` of them could start at once if there were workers enough; the others wait until their tenant, which has
    as many running jobs as it may, has room again.
    """

    depth: int
    startable: int
    oldest_age_s: float
    by_status: Mapping[JobStatus, int]


@dataclass(frozen=True, slots=True)
class Outlook:
    """
    What lies ahead of a job, as things are: later jobs of a higher priority, and tenants without room, change it.

    `position` is how many claims from now its turn is, 1 for the next one; None when it does not wait. `running` jobs
    run. `run_seconds` are those of the latest jobs of its kind, renders or preflights, that succeeded at the first
    attempt, at most RUNS_KEPT, the latest first.
    """

    position: int | None
    running: int
    run_seconds: tuple[float, ...]


class ChangeFeed(Protocol):
    """The events of all jobs as they happen. For one thread."""

    def wait(self, timeout_s: float) -> tuple[JobEvent, ...]:
        """
        What has happened since the last call, in order; () when that is nothing for `timeout_s` seconds.

        The first call returns at once: it decides where to begin. Raises QueueUnavailable; the next call goes on where
        this one stopped, but after a long trouble some events may be missing: read the histories of the jobs.
        """


class JobStore(Protocol):
    """
    Keeps job records. Every method may raise QueueUnavailable, within about two seconds.

    Methods that take a lease raise LeaseLost unless the lease is the job's latest attempt and that attempt runs. Being
    late is no offence: a lease that was not renewed in time still counts until `recover_lost` has taken the job away.
    """

    def create(self, job: Job, max_queued: int | None = None) -> None:
        """
        Keep a new queued job, durably. Creating the same id again changes nothing, so a retry is safe.

        Raises TooManyQueued when `max_queued` jobs of its tenant wait already.
        """

    def create_batch(self, batch: Batch, jobs: Sequence[Job], max_queued: int | None = None) -> None:
        """
        Keep a batch with its jobs, at least one, all of the batch's tenant and naming it: all of them or, when an error
        is raised, none. Creating the same id again changes nothing.

        Raises TooManyQueued when more than `max_queued` jobs of the tenant would wait.
        """

    def get_batch(self, batch_id: BatchId, tenant: str | None = None) -> Batch:
        """The batch as it is now. Raises BatchNotFound, also for one that is not this tenant's (None: anybody's)."""

    def cancel_batch(self, batch_id: BatchId) -> tuple[Job, ...]:
        """
        As `request_cancel` for all jobs of the batch, in one step. Returns those that were queued and are canceled now.
        """

    def get(self, job_id: JobId, tenant: str | None = None) -> Job:
        """The record as it is now. Raises JobNotFound, also for a job that is not this tenant's (None: anybody's)."""

    def history(self, job_id: JobId, after: str | None = None) -> tuple[JobEvent, ...]:
        """
        What has happened to the job, in order, from behind the event with the id `after` on.

        Of progress only the latest is kept. Raises JobNotFound.
        """

    def changes(self) -> ChangeFeed:
        """A new feed of what happens to any job."""

    def list(
        self,
        status: JobStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
        *,
        tenant: str | None = None,
        batch_id: BatchId | None = None,
    ) -> JobPage:
        """
        Jobs of this status, tenant and batch (None: of all), newest first, from behind the cursor on.

        A cursor stays valid while jobs come, go and change: what was neither added nor removed is seen exactly once.
        """

    def now(self) -> datetime:
        """The time by the clock that counts for jobs: the store's, the same for all processes, in UTC."""

    def stats(self) -> QueueStats:
        """Counts and ages, at a cost that grows with the number of tenants, not with that of jobs."""

    def outlook(self, job: Job) -> Outlook:
        """What the time until the end of this job follows from. Costs as little as `stats`."""

    def limit_running(self, tenant: str, max_running: int | None) -> None:
        """From now on start no job of this tenant while so many (at least 1; None: any number) of its jobs run."""

    def ping(self) -> None:
        """Return when the store takes writes."""

    def claim_next(self, worker_id: str) -> Lease | None:
        """
        Start the next attempt of the queued job whose turn it is. None when there is nothing to start: no job waits,
        or none that is in time and whose tenant has room. A job whose worker vanished is not handed over here but by
        `recover_lost`.

        The highest priority goes first; then the tenant that was served longest ago; then what has waited longest. A
        job that was queued again has its old place.
        """

    def renew(self, lease: Lease) -> LeaseState:
        """Prove that the worker lives, for another `lease_ttl_s`, and learn whether the job shall stop."""

    def report_progress(self, lease: Lease, progress: Progress) -> None:
        """Show where the attempt is."""

    def report_preflight(self, lease: Lease, report: PreflightReport) -> None:
        """Show what the analysis has found. It stays with the job, whatever becomes of this attempt."""

    def succeed(self, lease: Lease, result: JobResult | None, timings: Mapping[str, float] | None = None) -> None:
        """
        Publish the result, and the seconds spent in each stage: the one write that makes it visible. None: only a
        preflight was asked for. Repeating it is harmless.
        """

    def fail(self, lease: Lease, failure: JobFailure) -> None:
        """Give up for good. Repeating it is harmless."""

    def finish_canceled(self, lease: Lease) -> None:
        """Say that the work has stopped as requested. Repeating it is harmless."""

    def release(self, lease: Lease) -> None:
        """
        Hand the job back, unfinished, because this worker must stop: it is queued again and no attempt counts as
        lost. If it was to be canceled it is canceled instead. Repeating it is harmless.
        """

    def request_cancel(self, job_id: JobId) -> Job:
        """Cancel: at once when queued, by a flag when running, not at all when over. Raises JobNotFound."""

    def delete(self, job_id: JobId) -> None:
        """
        Forget a job that is over, and its batch with the last of its jobs.

        Raises JobNotFound; ValueError for one that is not over: cancel it first.
        """

    def recover_lost(self, max_lost_attempts: int) -> tuple[Job, ...]:
        """
        Take running jobs away from workers that did not renew their lease in time.

        Each is queued again, unannounced, or canceled if that was requested, or failed as `worker_lost` when it is the
        `max_lost_attempts`-th time. Returns them as they are afterwards.
        """

    def expire_overdue(self) -> tuple[Job, ...]:
        """
        Expire the jobs that are not over by their deadline, or were never started by their start deadline.

        A running one loses its lease. Returns them as they are afterwards.
        """

    def take_unannounced(self, grace_s: float, limit: int) -> tuple[JobId, ...]:
        """
        Up to `limit` queued jobs for which no message was sent during the last `grace_s` seconds, longest ago first.
        They count as announced from now on: the caller sends the messages.
        """

    def take_purge_due(self, again_s: float, limit: int) -> tuple[Job, ...]:
        """
        Jobs whose retention is over since their end. They are told again in `again_s` seconds if they are still there:
        one that cannot be purged does not keep others from it.
        """

    def exclusive(self, name: str, ttl_s: float) -> AbstractContextManager[bool]:
        """True inside for one caller at a time among all processes, False for the rest; given up after `ttl_s`."""
