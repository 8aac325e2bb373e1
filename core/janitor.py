"""
Removes what nobody needs any more: jobs whose retention is over, uploads that no job uses, files without a record.

Nothing of a live job is ever removed. An upload that a job holds stays, whatever its age. A file without a record waits
for `orphan_grace_s` from when it was first seen so: long enough for whatever was under way, and for an operator who has
lost Redis and not the files. Every step may be repeated; a crash leaves work for the next round and nothing else.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Protocol

import structlog
from redis import Redis

from core.errors import JobNotFound, StorageUnavailable, UploadNotFound
from core.job_store import JobStore
from core.jobs import JOB_ID_PATTERN, Job, JobId
from core.metrics import JANITOR_REMOVED
from core.redis_client import connect, redis_errors_translated
from core.storage import Storage
from core.uploads import Upload, UploadId, UploadState, UploadStore, uploads_of
from core.uploads.records import UPLOAD_ID_PATTERN

JOBS_FOLDER, UPLOADS_FOLDER = "jobs", "uploads"
AT_ONCE = 100
"""How many things of each kind one round removes, and how many names it looks at, at most."""

_LOCK_TTL_S = 300.0
_PURGE_AGAIN_S = 300.0
_DOUBTFUL_AFTER_S = 600.0  # far longer than it takes to post a job
_INCOMPLETE_AFTER_S = 86_400.0
_STALE_AFTER_S = 60 * 86_400.0  # suspects that somebody else has removed are never seen again

log = structlog.get_logger(__name__)


def purge(job: Job, store: JobStore, uploads: UploadStore, storage: Storage) -> None:
    """
    Remove a job that is over: its files, the uploads that no other job holds, and in the end its record.

    Until the record goes, everything can be repeated. Raises StorageUnavailable, QueueUnavailable, JobNotFound.
    """
    storage.delete_prefix(f"{JOBS_FOLDER}/{job.id}")
    for upload_id in uploads_of(job):
        if leaving := uploads.release(upload_id, job.id):
            remove_upload(leaving, uploads, storage)
    store.delete(job.id)
    log.info("job_purged", job_id=job.id)


def remove_upload(upload: Upload, uploads: UploadStore, storage: Storage) -> None:
    """Remove the file of an upload that leaves, or the parts that came of it, and then its record."""
    if upload.multipart is not None and storage.parts is not None:
        storage.parts.abort(upload.key, upload.multipart.token)
    storage.delete_prefix(upload.key)
    uploads.forget(upload.id)
    log.info("upload_removed", upload_id=upload.id)


class Suspects(Protocol):
    """Which names were seen without a record, and since when. Every method may raise QueueUnavailable."""

    def suspected_s(self, names: Iterable[str]) -> dict[str, float]:
        """For how many seconds each has been suspected; those that were not are from now on."""

    def acquit(self, names: Iterable[str]) -> None:
        """They have a record, or they are gone."""


class MemorySuspects:
    """The suspects as a fake. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def suspected_s(self, names: Iterable[str]) -> dict[str, float]:
        """See Suspects."""
        return {name: self._clock() - self._since.setdefault(name, self._clock()) for name in names}

    def acquit(self, names: Iterable[str]) -> None:
        """See Suspects."""
        for name in names:
            self._since.pop(name, None)


_SUSPECTS = "highsync:orphans"  # zset: name by the time at which it was first seen without a record

_SUSPECTED = f"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - {_STALE_AFTER_S})
local ages = {{}}
for place, name in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], 'NX', now, name)
  ages[place] = tostring(now - redis.call('ZSCORE', KEYS[1], name))
end
return ages
"""


class RedisSuspects:
    """The suspects in one sorted set, by the clock of Redis: shared by all replicas, and they survive restarts."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @classmethod
    def connect(cls, url: str) -> "RedisSuspects":
        """On the Redis at this address; connects at the first call."""
        return cls(connect(url))

    def suspected_s(self, names: Iterable[str]) -> dict[str, float]:
        """See Suspects."""
        asked = list(names)
        with redis_errors_translated():
            ages = self._redis.register_script(_SUSPECTED)(keys=[_SUSPECTS], args=asked)
        return {name: float(age) for name, age in zip(asked, ages, strict=True)}

    def acquit(self, names: Iterable[str]) -> None:
        """See Suspects."""
        if acquitted := list(names):
            with redis_errors_translated():
                self._redis.zrem(_SUSPECTS, *acquitted)


@dataclass(slots=True)
class JanitorReport:
    """How many of each kind one round has removed."""

    jobs: int = 0
    uploads: int = 0
    orphans: int = 0
    incomplete: int = 0


@dataclass(slots=True)
class Janitor:
    """Cleans in rounds; one runs at a time among all processes. Raises StorageUnavailable, QueueUnavailable."""

    store: JobStore
    uploads: UploadStore
    storage: Storage
    suspects: Suspects
    orphan_grace_s: float
    _seen_until: dict[str, str] = field(default_factory=dict)

    def clean(self) -> JanitorReport:
        """One round. An empty report when another process is at it."""
        report = JanitorReport()
        with self.store.exclusive("janitor", _LOCK_TTL_S) as alone:
            if alone:
                try:
                    self._clean(report)
                finally:
                    _count(report)
        return report

    def _clean(self, report: JanitorReport) -> None:
        self.storage.check()
        for job in self.store.take_purge_due(_PURGE_AGAIN_S, AT_ONCE):
            report.jobs += self._purge(job)
        report.uploads += self._drop_doubtful_holds()
        for upload in self.uploads.take_unused(AT_ONCE):
            report.uploads += self._remove(upload)
        report.orphans += self._remove_orphans(JOBS_FOLDER, self._is_job)
        report.orphans += self._remove_orphans(UPLOADS_FOLDER, self._is_upload)
        report.incomplete += self.storage.sweep_incomplete(self._may_go_on, _INCOMPLETE_AFTER_S, AT_ONCE)

    def _purge(self, job: Job) -> bool:
        """Purge a job. One whose files cannot be removed waits; whoever has purged it meanwhile has done the work."""
        try:
            purge(job, self.store, self.uploads, self.storage)
        except JobNotFound:
            return False
        except StorageUnavailable as error:
            log.warning("purge_postponed", job_id=job.id, reason=error.message)
            return False
        return True

    def _drop_doubtful_holds(self) -> int:
        """An API that died between holding an upload and creating its job has left a hold for nobody."""
        removed = 0
        for upload_id, job_id in self.uploads.take_doubtful_holds(_DOUBTFUL_AFTER_S, AT_ONCE):
            if not self._is_job(job_id) and (leaving := self.uploads.release(upload_id, job_id)):
                removed += self._remove(leaving)
        return removed

    def _remove(self, upload: Upload) -> bool:
        """Remove an upload. One whose file cannot be removed is told again."""
        try:
            remove_upload(upload, self.uploads, self.storage)
        except StorageUnavailable as error:
            log.warning("removal_postponed", upload_id=upload.id, reason=error.message)
            return False
        return True

    def _remove_orphans(self, folder: str, has_record: Callable[[str], bool]) -> int:
        """Look at the next names of this folder, and remove those that have been without a record for long enough."""
        names = self.storage.children(folder, self._seen_until.get(folder, ""), AT_ONCE)
        self._seen_until[folder] = names[-1] if len(names) == AT_ONCE else ""
        places = {f"{folder}/{name}": has_record(name) for name in names}
        self.suspects.acquit(place for place, recorded in places.items() if recorded)
        ages = self.suspects.suspected_s(place for place, recorded in places.items() if not recorded)
        old = [place for place, age_s in ages.items() if age_s >= self.orphan_grace_s]
        for place in old:
            self.storage.delete_prefix(place)
            self.suspects.acquit([place])
            log.info("orphan_removed", key=place)
        return len(old)

    def _is_job(self, name: str) -> bool:
        if not re.fullmatch(JOB_ID_PATTERN, name):
            return True  # not ours: whoever put it there may take it away
        try:
            self.store.get(JobId(name))
        except JobNotFound:
            return False
        return True

    def _is_upload(self, name: str) -> bool:
        if not re.fullmatch(UPLOAD_ID_PATTERN, name):
            return True
        try:
            self.uploads.get(UploadId(name))
        except UploadNotFound:
            return False
        return True

    def _may_go_on(self, key: str) -> bool:
        """Whether somebody may still be bringing this object: the worker of a live job, or the client of an upload."""
        folder, _, name = key.partition("/")
        try:
            if folder == UPLOADS_FOLDER:
                return self.uploads.get(UploadId(name)).state is UploadState.WAITING
            return not self.store.get(JobId(name.partition("/")[0])).status.is_terminal
        except (JobNotFound, UploadNotFound):
            return False


def _count(report: JanitorReport) -> None:
    for kind in fields(report):
        JANITOR_REMOVED.labels(kind.name).inc(getattr(report, kind.name))
