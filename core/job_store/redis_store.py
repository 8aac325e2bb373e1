"""The job store in Redis: durable as far as Redis is (our compose file: AOF, fsync on every write, nothing evicted)."""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import BaseModel
from redis import Redis

from core.batches import Batch, BatchEvent
from core.errors import BatchNotFound, JobNotFound, TooManyQueued
from core.job_store import scripts
from core.job_store.protocol import ChangeFeed, JobPage, Lease, LeaseLost, LeaseState, Outlook, QueueStats
from core.jobs import BatchId, Job, JobEvent, JobFailure, JobId, JobResult, JobStatus, Progress
from core.preflight import PreflightReport
from core.redis_client import REPLY_TIMEOUT_S, connect, redis_errors_translated

_JSON_FIELDS = frozenset(
    {"options", "webhook_events", "metadata", "input_sha256", "progress", "preflight", "result", "error", "timings"}
)
_FOR_THE_SCRIPTS = frozenset({"priority", "queue_rank", "arrival"})
_ATTEMPT_PREFIX = "attempt:"
_BATCH_EVENTS = json.dumps(list(BatchEvent))
_LONGEST_BLOCK_S = REPLY_TIMEOUT_S / 2  # a wait longer than the client's patience would look like a silent server
_CHANGES_AT_ONCE = 500


class RedisJobStore:
    """Job records as Redis hashes, changed only by the scripts beside this file."""

    def __init__(self, redis: Redis, lease_ttl_s: float = 60.0) -> None:
        self._redis = redis
        self._lease_ttl_s = lease_ttl_s

    @classmethod
    def connect(cls, url: str, lease_ttl_s: float = 60.0) -> "RedisJobStore":
        """A store on the Redis at this address; connects at the first call."""
        return cls(connect(url), lease_ttl_s)

    def create(self, job: Job, max_queued: int | None = None) -> None:
        """See JobStore."""
        if self._run(scripts.CREATE, job.tenant, _limit(max_queued), *_as_entered(job)) == scripts.FULL:
            raise TooManyQueued(f"{max_queued} jobs wait already.")

    def create_batch(self, batch: Batch, jobs: Sequence[Job], max_queued: int | None = None) -> None:
        """See JobStore."""
        facts = _encode_batch(batch)
        about_jobs = (argument for job in jobs for argument in _as_entered(job))
        head = (batch.tenant, _limit(max_queued), batch.id, batch.size, len(facts))
        if self._run(scripts.CREATE_BATCH, *head, *facts, *about_jobs) == scripts.FULL:
            raise TooManyQueued(f"With these {batch.size} more than {max_queued} jobs would wait.")

    def get_batch(self, batch_id: BatchId, tenant: str | None = None) -> Batch:
        """See JobStore."""
        record, counts = self._run(scripts.GET_BATCH, batch_id)
        fields = dict(zip(record[::2], record[1::2], strict=True))
        if not fields or tenant not in (None, fields["tenant"]):
            raise BatchNotFound(f"There is no batch {batch_id}.")
        del fields["webhook_events"]
        return Batch.model_validate(fields | {"counts": dict(zip(JobStatus, counts, strict=True))})

    def cancel_batch(self, batch_id: BatchId) -> tuple[Job, ...]:
        """See JobStore."""
        return tuple(map(_decode_flat, self._run(scripts.CANCEL_BATCH, batch_id)))

    def get(self, job_id: JobId, tenant: str | None = None) -> Job:
        """See JobStore."""
        with redis_errors_translated():
            fields = cast("dict[str, str]", self._redis.hgetall(f"{scripts.PREFIX}job:{job_id}"))
        if not fields or tenant not in (None, fields["tenant"]):
            raise JobNotFound(f"There is no job {job_id}.")
        return _decode(fields)

    def history(self, job_id: JobId, after: str | None = None) -> tuple[JobEvent, ...]:
        """See JobStore."""
        with redis_errors_translated(), self._redis.pipeline() as pipe:
            pipe.exists(f"{scripts.PREFIX}job:{job_id}")
            pipe.xrange(f"{scripts.PREFIX}events:{job_id}", f"({after}" if after else "-", "+")
            exists, entries = pipe.execute()
        if not exists:
            raise JobNotFound(f"There is no job {job_id}.")
        return tuple(_decode_event({"id": event_id, "job_id": job_id, **entry}) for event_id, entry in entries)

    def changes(self) -> ChangeFeed:
        """See JobStore."""
        return _RedisChangeFeed(self._redis)

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
        of_whom = f"batch:{batch_id}:" if batch_id else f"tenant:{tenant}:" if tenant else ""
        index = of_whom + (f"jobs:{status}" if status else "jobs")
        records = self._run(scripts.LIST, index, f"({cursor}" if cursor else "+", limit + 1)
        page = tuple(job for job in map(_decode_flat, records[:limit]) if tenant in (None, job.tenant))
        return JobPage(page, page[-1].id if page and len(records) > limit else None)

    def now(self) -> datetime:
        """See JobStore."""
        with redis_errors_translated():
            seconds, microseconds = self._redis.time()
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)

    def stats(self) -> QueueStats:
        """See JobStore."""
        *counts, startable, oldest_age_s = self._run(scripts.STATS)
        by_status = dict(zip(JobStatus, counts, strict=True))
        return QueueStats(by_status[JobStatus.QUEUED], startable, float(oldest_age_s), by_status)

    def outlook(self, job: Job) -> Outlook:
        """See JobStore."""
        position, running, *run_seconds = self._run(scripts.OUTLOOK, job.id, job.queue_rank)
        return Outlook(position or None, running, tuple(map(float, run_seconds)))

    def limit_running(self, tenant: str, max_running: int | None) -> None:
        """See JobStore."""
        with redis_errors_translated():
            if max_running is None:
                self._redis.hdel(scripts.MAX_RUNNING, tenant)
            else:
                self._redis.hset(scripts.MAX_RUNNING, tenant, str(max_running))

    def ping(self) -> None:
        """See JobStore."""
        with redis_errors_translated():
            self._redis.set(f"{scripts.PREFIX}ping", 1, px=1000)

    def claim_next(self, worker_id: str) -> Lease | None:
        """See JobStore."""
        record = self._run(scripts.CLAIM_NEXT, worker_id, self._lease_ttl_s)
        if record is None:
            return None
        job = _decode_flat(record)
        return Lease(job, job.attempts, worker_id)

    def renew(self, lease: Lease) -> LeaseState:
        """See JobStore."""
        answer = self._run_held(scripts.RENEW, lease, self._lease_ttl_s)
        return LeaseState(cancel_requested=answer == scripts.STOP)

    def report_progress(self, lease: Lease, progress: Progress) -> None:
        """See JobStore."""
        self._run_held(scripts.REPORT_PROGRESS, lease, progress.model_dump_json())

    def report_preflight(self, lease: Lease, report: PreflightReport) -> None:
        """See JobStore."""
        self._run_held(scripts.REPORT_PREFLIGHT, lease, report.model_dump_json())

    def succeed(self, lease: Lease, result: JobResult | None, timings: Mapping[str, float] | None = None) -> None:
        """See JobStore."""
        published = () if result is None else ("result", result.model_dump_json())
        facts = ("timings", json.dumps(dict(timings or {})), *published)
        self._run_held(scripts.FINISH, lease, JobStatus.SUCCEEDED, *facts)

    def fail(self, lease: Lease, failure: JobFailure) -> None:
        """See JobStore."""
        self._run_held(scripts.FINISH, lease, JobStatus.FAILED, "error", failure.model_dump_json())

    def finish_canceled(self, lease: Lease) -> None:
        """See JobStore."""
        self._run_held(scripts.FINISH, lease, JobStatus.CANCELED)

    def release(self, lease: Lease) -> None:
        """See JobStore."""
        self._run_held(scripts.RELEASE, lease)

    def request_cancel(self, job_id: JobId) -> Job:
        """See JobStore."""
        record = self._run(scripts.REQUEST_CANCEL, job_id)
        if record is None:
            raise JobNotFound(f"There is no job {job_id}.")
        return _decode_flat(record)

    def delete(self, job_id: JobId) -> None:
        """See JobStore."""
        status = self._run(scripts.DELETE, job_id)
        if status is None:
            raise JobNotFound(f"There is no job {job_id}.")
        if not JobStatus(status).is_terminal:
            raise ValueError(f"job {job_id} is not over")

    def recover_lost(self, max_lost_attempts: int) -> tuple[Job, ...]:
        """See JobStore."""
        failure = JobFailure.worker_lost(max_lost_attempts).model_dump_json()
        return tuple(map(_decode_flat, self._run(scripts.RECOVER_LOST, self._lease_ttl_s, max_lost_attempts, failure)))

    def expire_overdue(self) -> tuple[Job, ...]:
        """See JobStore."""
        failures = [failure.model_dump_json() for failure in (JobFailure.late_start(), JobFailure.late_end())]
        expired: list[Job] = []
        while batch := self._run(scripts.EXPIRE_OVERDUE, *failures):
            expired += map(_decode_flat, batch)
        return tuple(expired)

    def take_unannounced(self, grace_s: float, limit: int) -> tuple[JobId, ...]:
        """See JobStore."""
        return tuple(map(JobId, self._run(scripts.TAKE_UNANNOUNCED, grace_s, limit)))

    def take_purge_due(self, again_s: float, limit: int) -> tuple[Job, ...]:
        """See JobStore."""
        return tuple(map(_decode_flat, self._run(scripts.TAKE_PURGE_DUE, again_s, limit)))

    @contextmanager
    def exclusive(self, name: str, ttl_s: float) -> Iterator[bool]:
        """See JobStore."""
        holder = secrets.token_hex(16)
        with redis_errors_translated():
            mine = bool(self._redis.set(f"{scripts.PREFIX}lock:{name}", holder, nx=True, px=round(ttl_s * 1000)))
        try:
            yield mine
        finally:
            if mine:
                self._run(scripts.UNLOCK, name, holder)

    def _run(self, script: str, *arguments: str | float) -> Any:
        with redis_errors_translated():
            return self._redis.register_script(script)(args=arguments)

    def _run_held(self, script: str, lease: Lease, *arguments: str | float) -> int:
        answer = int(self._run(script, lease.job.id, lease.token, *arguments))
        if answer == scripts.LOST:
            raise LeaseLost(f"job {lease.job.id} is no longer attempt {lease.token}'s")
        return answer


class _RedisChangeFeed:
    """The stream of changes, read by blocking calls."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._position: str | None = None

    def wait(self, timeout_s: float) -> tuple[JobEvent, ...]:
        """See ChangeFeed."""
        with redis_errors_translated():
            if self._position is None:
                newest = cast("list[_Entry]", self._redis.xrevrange(scripts.CHANGES, count=1))
                self._position = newest[0][0] if newest else "0-0"
                return ()
            block_ms = max(1, round(min(timeout_s, _LONGEST_BLOCK_S) * 1000))
            answer = self._redis.xread({scripts.CHANGES: self._position}, count=_CHANGES_AT_ONCE, block=block_ms)
        entries = [entry for _, stream in cast("list[tuple[str, list[_Entry]]]", answer) for entry in stream]
        if entries:
            self._position = entries[-1][0]
        return tuple(_decode_event(fields) for _, fields in entries)


_Entry = tuple[str, dict[str, str]]


def _limit(max_queued: int | None) -> int | str:
    return "" if max_queued is None else max_queued


def _as_entered(job: Job) -> list[str | float]:
    """A new job as the scripts take it."""
    deadlines = (at.timestamp() if at else "" for at in (job.start_deadline_at, job.deadline_at))
    fields = _encode(job)
    return [job.id, *deadlines, len(fields), *fields]


def _encode_batch(batch: Batch) -> list[str]:
    """What is counted is not kept. `webhook_events` is for the script that tells of jobs and batches alike."""
    given = batch.model_dump(mode="json", exclude={"counts"}, exclude_none=True) | {"webhook_events": _BATCH_EVENTS}
    return [str(part) for pair in given.items() for part in pair]


def _encode(job: Job) -> list[str]:
    """Field, value, field, value, …: scalars as they are, for the scripts to read; structures as JSON."""
    pairs: list[str] = []
    for field in Job.model_fields.keys() - {"attempt_log"}:  # a new job has none, and the scripts write it
        value = getattr(job, field)
        if value is not None:
            pairs += [field, _encode_value(field, value)]
    return [*pairs, "priority", job.options.priority, "queue_rank", str(job.queue_rank)]


def _encode_value(field: str, value: Any) -> str:
    if field in _JSON_FIELDS:
        return value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value)
    if isinstance(value, bool):
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _decode(fields: Mapping[str, str]) -> Job:
    attempts: dict[int, dict[str, str | int]] = {}
    record: dict[str, Any] = {}
    for name, value in fields.items():
        if name.startswith(_ATTEMPT_PREFIX):
            _, number, attribute = name.split(":")
            attempts.setdefault(int(number), {"number": int(number)})[attribute] = value
        elif name not in _FOR_THE_SCRIPTS:
            record[name] = json.loads(value) if name in _JSON_FIELDS else value
    return Job.model_validate(record | {"attempt_log": [attempts[number] for number in sorted(attempts)]})


def _decode_event(fields: Mapping[str, str]) -> JobEvent:
    return JobEvent.model_validate({n: json.loads(v) if n in _JSON_FIELDS else v for n, v in fields.items()})


def _decode_flat(record: Sequence[str]) -> Job:
    return _decode(dict(zip(record[::2], record[1::2], strict=True)))
