"""The job store as a fake: one process, nothing durable, the same behaviour (one contract test suite for both)."""

import math
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from core.batches import Batch, BatchEvent
from core.errors import BatchNotFound, JobNotFound, TooManyQueued
from core.job_store.protocol import (
    RUNS_KEPT,
    ChangeFeed,
    JobPage,
    Lease,
    LeaseLost,
    LeaseState,
    Outlook,
    QueueStats,
)
from core.jobs import (
    EVENT_OF_MOVE,
    TRANSITIONS,
    AttemptOutcome,
    AttemptRecord,
    BatchId,
    Job,
    JobEvent,
    JobEventType,
    JobFailure,
    JobId,
    JobResult,
    JobStatus,
    Priority,
    Progress,
    WebhookEvent,
    event_position,
)
from core.preflight import PreflightReport
from core.private_urls import public_url

_URGENCY = {priority: place for place, priority in enumerate(Priority)}


class MemoryJobStore:
    """
    Job records in a dict. `clock` returns seconds since the epoch.

    `listeners` are told of every event, in the step that makes it.
    """

    def __init__(self, lease_ttl_s: float = 60.0, clock: Callable[[], float] = time.time) -> None:
        self._lease_ttl_s = lease_ttl_s
        self._clock = clock
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._jobs: dict[JobId, Job] = {}
        self._batches: dict[BatchId, Batch] = {}
        self._events: dict[JobId, list[JobEvent]] = {}
        self._changes: list[JobEvent] = []
        self._start_deadlines: dict[JobId, float] = {}
        self._deadlines: dict[JobId, float] = {}
        self._lease_deadlines: dict[JobId, float] = {}
        self._queued_since: dict[JobId, float] = {}
        self._announced: dict[JobId, float] = {}
        self._purge_due: dict[JobId, float] = {}
        self._runs: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=RUNS_KEPT))
        self._exclusive: dict[str, float] = {}
        self._max_running: dict[str, int] = {}
        self._arrivals: dict[JobId, int] = {}
        self._arrived = 0
        self._turn = 0
        self._served: dict[str, int] = {}
        self.listeners: list[Callable[[Job | Batch, WebhookEvent | BatchEvent], None]] = []

    @property
    def lock(self) -> threading.RLock:
        """Held during every change. Whatever shall happen in one step with a change holds it too."""
        return self._lock

    def create(self, job: Job, max_queued: int | None = None) -> None:
        """See JobStore."""
        with self._lock:
            if job.id in self._jobs:
                return
            if not self._has_room_for(job.tenant, 1, max_queued):
                raise TooManyQueued(f"{max_queued} jobs wait already.")
            self._enter(job)

    def create_batch(self, batch: Batch, jobs: Sequence[Job], max_queued: int | None = None) -> None:
        """See JobStore."""
        with self._lock:
            if batch.id in self._batches:
                return
            if not self._has_room_for(batch.tenant, len(jobs), max_queued):
                raise TooManyQueued(f"With these {len(jobs)} more than {max_queued} jobs would wait.")
            self._batches[batch.id] = batch
            for job in jobs:
                self._enter(job)

    def get_batch(self, batch_id: BatchId, tenant: str | None = None) -> Batch:
        """See JobStore."""
        with self._lock:
            batch = self._batches.get(batch_id)
            if batch is None or tenant not in (None, batch.tenant):
                raise BatchNotFound(f"There is no batch {batch_id}.")
            found = Counter(job.status for job in self._jobs.values() if job.batch_id == batch_id)
            return batch.model_copy(update={"counts": {status: found[status] for status in JobStatus}})

    def cancel_batch(self, batch_id: BatchId) -> tuple[Job, ...]:
        """See JobStore."""
        with self._lock:
            open_jobs = [job for job in self._jobs.values() if job.batch_id == batch_id and not job.status.is_terminal]
            return tuple(
                job for job in map(self.request_cancel, [job.id for job in open_jobs]) if job.status.is_terminal
            )

    def _has_room_for(self, tenant: str, more: int, max_queued: int | None) -> bool:
        return max_queued is None or self._count(tenant, self._queued_since) + more <= max_queued

    def _enter(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._arrived += 1
        self._arrivals[job.id] = self._arrived
        if job.start_deadline_at is not None:
            self._start_deadlines[job.id] = job.start_deadline_at.timestamp()
        if job.deadline_at is not None:
            self._deadlines[job.id] = job.deadline_at.timestamp()
        self._wait(job.id)
        self._tell(job, JobEventType.CREATED)

    def get(self, job_id: JobId, tenant: str | None = None) -> Job:
        """See JobStore."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or tenant not in (None, job.tenant):
                raise JobNotFound(f"There is no job {job_id}.")
            return job

    def history(self, job_id: JobId, after: str | None = None) -> tuple[JobEvent, ...]:
        """See JobStore."""
        with self._lock:
            self.get(job_id)
            seen = event_position(after) if after else (-1, 0)
            return tuple(event for event in self._events.get(job_id, ()) if event_position(event.id) > seen)

    def changes(self) -> ChangeFeed:
        """See JobStore."""
        return _MemoryChangeFeed(self._changes, self._changed)

    def list(
        self,
        status: JobStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
        *,
        tenant: str | None = None,
        batch_id: BatchId | None = None,
    ) -> JobPage:
        """See JobStore."""
        with self._lock:
            fitting = sorted(
                job_id
                for job_id, job in self._jobs.items()
                if status in (None, job.status) and tenant in (None, job.tenant) and batch_id in (None, job.batch_id)
            )
            behind = [job_id for job_id in reversed(fitting) if cursor is None or job_id < cursor]
            page = tuple(self._jobs[job_id] for job_id in behind[:limit])
        return JobPage(page, page[-1].id if len(behind) > limit else None)

    def now(self) -> datetime:
        """See JobStore."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def stats(self) -> QueueStats:
        """See JobStore."""
        with self._lock:
            counts = Counter(job.status for job in self._jobs.values())
            ages = [self._clock() - since for since in self._queued_since.values()]
            waiting = Counter(self._jobs[job_id].tenant for job_id in self._queued_since)
            startable = sum(max(0, int(min(count, self._room(tenant)))) for tenant, count in waiting.items())
        by_status = {status: counts[status] for status in JobStatus}
        return QueueStats(len(ages), startable, max(ages, default=0.0), by_status)

    def outlook(self, job: Job) -> Outlook:
        """See JobStore."""
        with self._lock:
            return Outlook(self._position(job), len(self._lease_deadlines), tuple(self._runs[job.queue_rank]))

    def _position(self, job: Job) -> int | None:
        waiting = sorted((self._jobs[job_id] for job_id in self._queued_since), key=self._turn_of)
        ahead: Counter[tuple[str, Priority]] = Counter()
        rounds: dict[JobId, int] = {}
        for other in waiting:
            line = (other.tenant, other.options.priority)
            rounds[other.id] = ahead[line]
            ahead[line] += 1
        waiting.sort(key=lambda job: (_URGENCY[job.options.priority], rounds[job.id], self._turn_of(job)))
        ids = [other.id for other in waiting]
        return ids.index(job.id) + 1 if job.id in ids else None

    def limit_running(self, tenant: str, max_running: int | None) -> None:
        """See JobStore."""
        with self._lock:
            if max_running is None:
                self._max_running.pop(tenant, None)
            else:
                self._max_running[tenant] = max_running

    def ping(self) -> None:
        """See JobStore."""

    def claim_next(self, worker_id: str) -> Lease | None:
        """See JobStore."""
        with self._lock:
            waiting = (self._jobs[job_id] for job_id in self._queued_since.keys() - self._overdue().keys())
            startable = [job for job in waiting if self._room(job.tenant) > 0]
            if not startable:
                return None
            job = min(startable, key=self._turn_of)
            self._turn += 1
            self._served[job.tenant] = self._turn
            return self._start(job, worker_id)

    def _start(self, job: Job, worker_id: str) -> Lease:
        token = job.attempts + 1
        attempt = AttemptRecord(number=token, worker=worker_id, started_at=self.now())
        job = self._move(
            job,
            JobStatus.RUNNING,
            attempts=token,
            worker_id=worker_id,
            started_at=job.started_at or self.now(),
            attempt_log=(*job.attempt_log, attempt),
        )
        self._lease_deadlines[job.id] = self._clock() + self._lease_ttl_s
        return Lease(job, token, worker_id)

    def _turn_of(self, job: Job) -> tuple[int, int, str, int, int]:
        """The smallest one is next."""
        served = self._served.get(job.tenant, 0)
        return _URGENCY[job.options.priority], served, job.tenant, job.queue_rank, self._arrivals[job.id]

    def _room(self, tenant: str) -> float:
        return self._max_running.get(tenant, math.inf) - self._count(tenant, self._lease_deadlines)

    def _count(self, tenant: str, index: Iterable[JobId]) -> int:
        return sum(self._jobs[job_id].tenant == tenant for job_id in index)

    def renew(self, lease: Lease) -> LeaseState:
        """See JobStore."""
        with self._lock:
            job = self._held(lease)
            self._lease_deadlines[job.id] = self._clock() + self._lease_ttl_s
            return LeaseState(cancel_requested=job.cancel_requested)

    def report_progress(self, lease: Lease, progress: Progress) -> None:
        """See JobStore."""
        with self._lock:
            job = self._held(lease)
            self._jobs[job.id] = job.model_copy(update={"progress": progress})
            self._tell(self._jobs[job.id], JobEventType.PROGRESS)

    def report_preflight(self, lease: Lease, report: PreflightReport) -> None:
        """See JobStore."""
        with self._lock:
            job = self._held(lease)
            self._jobs[job.id] = job.model_copy(update={"preflight": report})

    def succeed(self, lease: Lease, result: JobResult | None, timings: Mapping[str, float] | None = None) -> None:
        """See JobStore."""
        self._leave(lease, JobStatus.SUCCEEDED, result=result, timings=dict(timings or {}))

    def fail(self, lease: Lease, failure: JobFailure) -> None:
        """See JobStore."""
        self._leave(lease, JobStatus.FAILED, error=failure)

    def finish_canceled(self, lease: Lease) -> None:
        """See JobStore."""
        self._leave(lease, JobStatus.CANCELED)

    def release(self, lease: Lease) -> None:
        """See JobStore."""
        with self._lock:
            job = self._jobs.get(lease.job.id, lease.job)
            if job.cancel_requested:
                self._leave(lease, JobStatus.CANCELED)
            else:
                self._leave(lease, JobStatus.QUEUED, AttemptOutcome.RELEASED)

    def request_cancel(self, job_id: JobId) -> Job:
        """See JobStore."""
        with self._lock:
            job = self.get(job_id)
            if job.status.is_terminal:
                return job
            asked_at = job.cancel_requested_at or self.now()
            job = job.model_copy(update={"cancel_requested": True, "cancel_requested_at": asked_at})
            self._jobs[job_id] = job
            return self._move(job, JobStatus.CANCELED) if job.status is JobStatus.QUEUED else job

    def delete(self, job_id: JobId) -> None:
        """See JobStore."""
        with self._lock:
            job = self.get(job_id)
            if not job.status.is_terminal:
                raise ValueError(f"job {job_id} is not over")
            del self._jobs[job_id]
            del self._arrivals[job_id]
            del self._events[job_id]
            self._purge_due.pop(job_id, None)
            if job.batch_id and not any(self.get_batch(job.batch_id).counts.values()):
                del self._batches[job.batch_id]

    def recover_lost(self, max_lost_attempts: int) -> tuple[Job, ...]:
        """See JobStore."""
        with self._lock:
            _not_after(self._lease_deadlines, self._clock() + self._lease_ttl_s)
            silent = [job_id for job_id, deadline in self._lease_deadlines.items() if deadline <= self._clock()]
            return tuple(self._recover(self._jobs[job_id], max_lost_attempts) for job_id in silent)

    def _recover(self, job: Job, max_lost_attempts: int) -> Job:
        lost = job.lost_attempts + 1
        if job.cancel_requested:
            return self._move(job, JobStatus.CANCELED, AttemptOutcome.LOST, lost_attempts=lost)
        if lost >= max_lost_attempts:
            failure = JobFailure.worker_lost(max_lost_attempts)
            return self._move(job, JobStatus.FAILED, AttemptOutcome.LOST, lost_attempts=lost, error=failure)
        job = self._move(job, JobStatus.QUEUED, AttemptOutcome.LOST, lost_attempts=lost)
        self._announced[job.id] = 0.0
        return job

    def expire_overdue(self) -> tuple[Job, ...]:
        """See JobStore."""
        with self._lock:
            overdue = self._overdue()
            return tuple(
                self._move(self._jobs[job_id], JobStatus.EXPIRED, error=error) for job_id, error in overdue.items()
            )

    def _overdue(self) -> dict[JobId, JobFailure]:
        """The jobs whose time is over, each with the reason; a late start comes before a late end."""
        reasons = ((self._deadlines, JobFailure.late_end()), (self._start_deadlines, JobFailure.late_start()))
        now = self._clock()
        return {job_id: reason for index, reason in reasons for job_id, at in index.items() if at <= now}

    def take_unannounced(self, grace_s: float, limit: int) -> tuple[JobId, ...]:
        """See JobStore."""
        with self._lock:
            _not_after(self._announced, self._clock())
            oldest_first = sorted((at, job_id) for job_id, at in self._announced.items())
            quiet = tuple(job_id for at, job_id in oldest_first if at <= self._clock() - grace_s)[:limit]
            self._announced.update(dict.fromkeys(quiet, self._clock()))
            return quiet

    def take_purge_due(self, again_s: float, limit: int) -> tuple[Job, ...]:
        """See JobStore."""
        with self._lock:
            due = [job_id for job_id, at in self._purge_due.items() if at <= self._clock()][:limit]
            self._purge_due.update(dict.fromkeys(due, self._clock() + again_s))
            return tuple(self._jobs[job_id] for job_id in due)

    @contextmanager
    def exclusive(self, name: str, ttl_s: float) -> Iterator[bool]:
        """See JobStore."""
        with self._lock:
            until = self._clock() + ttl_s
            mine = self._exclusive.get(name, 0.0) <= self._clock()
            if mine:
                self._exclusive[name] = until
        try:
            yield mine
        finally:
            with self._lock:
                if mine and self._exclusive.get(name) == until:
                    del self._exclusive[name]

    def _held(self, lease: Lease) -> Job:
        job = self._jobs.get(lease.job.id)
        if job is None or job.status is not JobStatus.RUNNING or job.attempts != lease.token:
            raise LeaseLost(f"job {lease.job.id} is no longer attempt {lease.token}'s")
        return job

    def _leave(self, lease: Lease, status: JobStatus, outcome: AttemptOutcome | None = None, **changes: Any) -> None:
        """End this attempt with the job in the given state; the same once more is a repeat, not an error."""
        with self._lock:
            job = self._jobs.get(lease.job.id)
            if job is None or (job.status, job.attempts) != (status, lease.token):
                self._move(self._held(lease), status, outcome, **changes)

    def _move(self, job: Job, status: JobStatus, outcome: AttemptOutcome | None = None, **changes: Any) -> Job:
        """Bring a job into another state. `outcome` is what to say of the attempt that this ends; default: the same."""
        if status not in TRANSITIONS[job.status]:
            raise ValueError(f"a {job.status} job cannot become {status}")
        changes["status"] = status
        if job.status is JobStatus.RUNNING:
            ended = {"ended_at": self.now(), "outcome": outcome or AttemptOutcome(status.value)}
            changes["attempt_log"] = (*job.attempt_log[:-1], job.attempt_log[-1].model_copy(update=ended))
        for index in (self._queued_since, self._announced, self._lease_deadlines, self._start_deadlines):
            index.pop(job.id, None)
        if status is JobStatus.QUEUED:
            changes["progress"] = None
            self._wait(job.id)
        if status.is_terminal:
            changes["finished_at"] = self.now()
            self._deadlines.pop(job.id, None)
            if job.retention_s is not None:
                self._purge_due[job.id] = self._clock() + job.retention_s
        if status is JobStatus.SUCCEEDED:
            if job.attempts == 1 and job.started_at is not None:
                self._runs[job.queue_rank].appendleft((self.now() - job.started_at).total_seconds())
            changes["video_url"] = public_url(job.video_url)
            changes["options"] = job.options.with_urls(public_url)
            changes["audio_url"] = None if job.audio_url is None else public_url(job.audio_url)
        self._jobs[job.id] = job.model_copy(update=changes)
        self._tell(self._jobs[job.id], EVENT_OF_MOVE[status])
        if status.is_terminal and job.batch_id:
            self._close(self.get_batch(job.batch_id))
        return self._jobs[job.id]

    def _close(self, batch: Batch) -> None:
        """A job of the batch has just ended: was that the last one?"""
        if all(status.is_terminal for status, count in batch.counts.items() if count):
            self._batches[batch.id] = batch = batch.model_copy(update={"finished_at": self.now()})
            for listener in self.listeners:
                listener(batch, BatchEvent.COMPLETED)

    def _tell(self, job: Job, what: JobEventType) -> None:
        """All who want to know of a change learn it here: the history, who waits for changes, and the listeners."""
        history = self._events.setdefault(job.id, [])
        if what is JobEventType.PROGRESS and history and history[-1].type is JobEventType.PROGRESS:
            history.pop()  # only the latest progress is kept
        milliseconds, number = event_position(self._changes[-1].id) if self._changes else (0, 0)
        progress = job.progress if what is JobEventType.PROGRESS else None
        event_id = f"{max(milliseconds, int(self._clock() * 1000))}-{number + 1}"
        event = JobEvent(id=event_id, job_id=job.id, type=what, attempt=job.attempts, progress=progress)
        history.append(event)
        self._changes.append(event)
        self._changed.notify_all()
        if what is not JobEventType.REQUEUED:
            for listener in self.listeners:
                listener(job, WebhookEvent(f"job.{what}"))

    def _wait(self, job_id: JobId) -> None:
        self._queued_since[job_id] = self._announced[job_id] = self._clock()


class _MemoryChangeFeed:
    """Reads the store's list of changes from a place of its own on."""

    def __init__(self, changes: Sequence[JobEvent], changed: threading.Condition) -> None:
        self._changes = changes
        self._changed = changed
        self._position: int | None = None

    def wait(self, timeout_s: float) -> tuple[JobEvent, ...]:
        """See ChangeFeed."""
        with self._changed:
            if self._position is None:
                self._position = len(self._changes)
                return ()
            start = self._position
            self._changed.wait_for(lambda: len(self._changes) > start, timeout_s)
            self._position = len(self._changes)
            return tuple(self._changes[start:])


def _not_after(times: dict[JobId, float], latest: float) -> None:
    """Times that lie further ahead than they can be, because the clock was set back meanwhile, are brought near."""
    times.update({job_id: latest for job_id, at in times.items() if at > latest})
