"""
The upload store in Redis. Each change is one Lua script: it runs as one step, on Redis' own clock, or not at all.

    highsync:upload:ID          hash    `record`: the upload as JSON, without what changes; `state`; `tenant`; `counted`
                                        bytes; `bytes`, once the file is there
    highsync:upload:ID:jobs     set     the jobs that hold it
    highsync:uploads:unused     zset    ids of uploads nobody holds, by the time at which they may go
    highsync:uploads:doubtful   zset    `UPLOAD JOB`: holds whose job was not looked for yet, by the time of the hold
    highsync:uploads:bytes      hash    tenant → bytes of its uploads
"""

from collections.abc import Mapping
from typing import Any, cast

from redis import Redis

from core.errors import UploadInUse, UploadNotFound, UploadQuotaExceeded
from core.job_store.scripts import PREFIX
from core.jobs import JobId
from core.redis_client import connect, redis_errors_translated
from core.uploads.memory import TELL_AGAIN_S
from core.uploads.protocol import UploadStore
from core.uploads.records import Upload, UploadId, UploadState

_LIBRARY = f"""
local UPLOAD, UNUSED = '{PREFIX}upload:', '{PREFIX}uploads:unused'
local DOUBTFUL, BYTES = '{PREFIX}uploads:doubtful', '{PREFIX}uploads:bytes'
local TELL_AGAIN_S = {TELL_AGAIN_S}
local FULL, BUSY = 'full', 'busy'

local function clock()
  local time = redis.call('TIME')
  return time[1] + time[2] / 1e6
end

local function there(id)
  local state = redis.call('HGET', UPLOAD .. id, 'state')
  return state and state ~= 'leaving'
end

local function jobs(id) return UPLOAD .. id .. ':jobs' end

local function fits(tenant, more, quota)
  return tonumber(quota) == 0 or more <= 0 or (redis.call('HGET', BYTES, tenant) or 0) + more <= tonumber(quota)
end

local function leave(id)
  redis.call('HSET', UPLOAD .. id, 'state', 'leaving')
  redis.call('ZADD', UNUSED, clock() + TELL_AGAIN_S, id)
  return redis.call('HGETALL', UPLOAD .. id)
end
"""

# id, tenant, record, counted bytes, seconds to keep, quota → FULL | nil
_CREATE = (
    _LIBRARY
    + """
local id, tenant, record, counted, keep_s, quota = unpack(ARGV)
if not fits(tenant, tonumber(counted), quota) then return FULL end
redis.call('HSET', UPLOAD .. id, 'record', record, 'state', 'waiting', 'tenant', tenant, 'counted', counted)
redis.call('HINCRBY', BYTES, tenant, counted)
redis.call('ZADD', UNUSED, clock() + keep_s, id)
"""
)

# id, bytes, quota → record | FULL | nil
_RECEIVE = (
    _LIBRARY
    + """
local id, size, quota = unpack(ARGV)
if not there(id) then return nil end
local tenant, counted = unpack(redis.call('HMGET', UPLOAD .. id, 'tenant', 'counted'))
local more = size - counted
if not fits(tenant, more, quota) then return FULL end
redis.call('HINCRBY', BYTES, tenant, string.format('%d', more))
redis.call('HSET', UPLOAD .. id, 'state', 'ready', 'bytes', size, 'counted', size)
return redis.call('HGETALL', UPLOAD .. id)
"""
)

# id, job → 1 | nil
_HOLD = (
    _LIBRARY
    + """
local id, job = unpack(ARGV)
if not there(id) then return nil end
redis.call('SADD', jobs(id), job)
redis.call('ZREM', UNUSED, id)
redis.call('ZADD', DOUBTFUL, clock(), id .. ' ' .. job)
return 1
"""
)

# id, job → record | nil
_RELEASE = (
    _LIBRARY
    + """
local id, job = unpack(ARGV)
redis.call('ZREM', DOUBTFUL, id .. ' ' .. job)
if redis.call('SREM', jobs(id), job) == 0 or redis.call('EXISTS', jobs(id)) == 1 then return nil end
return leave(id)
"""
)

# id, job, seconds to keep
_LET_GO = (
    _LIBRARY
    + """
local id, job, keep_s = unpack(ARGV)
redis.call('ZREM', DOUBTFUL, id .. ' ' .. job)
if redis.call('SREM', jobs(id), job) == 1 and redis.call('EXISTS', jobs(id)) == 0 then
  redis.call('ZADD', UNUSED, clock() + keep_s, id)
end
"""
)

# age, limit → holds
_TAKE_DOUBTFUL = (
    _LIBRARY
    + """
local holds = redis.call('ZRANGEBYSCORE', DOUBTFUL, '-inf', clock() - ARGV[1], 'LIMIT', 0, ARGV[2])
for _, hold in ipairs(holds) do redis.call('ZREM', DOUBTFUL, hold) end
return holds
"""
)

# limit → records
_TAKE_UNUSED = (
    _LIBRARY
    + """
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNUSED, '-inf', clock(), 'LIMIT', 0, ARGV[1])) do
  taken[#taken + 1] = leave(id)
end
return taken
"""
)

# id → record | BUSY | nil
_WITHDRAW = (
    _LIBRARY
    + """
local id = ARGV[1]
if not there(id) then return nil end
if redis.call('EXISTS', jobs(id)) == 1 then return BUSY end
return leave(id)
"""
)

# id
_FORGET = (
    _LIBRARY
    + """
local id = ARGV[1]
local tenant, counted = unpack(redis.call('HMGET', UPLOAD .. id, 'tenant', 'counted'))
if not tenant then return end
if redis.call('HINCRBY', BYTES, tenant, string.format('%d', -counted)) <= 0 then redis.call('HDEL', BYTES, tenant) end
redis.call('DEL', UPLOAD .. id, jobs(id))
redis.call('ZREM', UNUSED, id)
"""
)


class RedisUploadStore(UploadStore):
    """Upload records as Redis hashes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @classmethod
    def connect(cls, url: str) -> "RedisUploadStore":
        """A store on the Redis at this address; connects at the first call."""
        return cls(connect(url))

    def create(self, upload: Upload, keep_s: float, quota_bytes: int) -> None:
        """See UploadStore."""
        record = upload.model_dump_json(exclude={"state", "bytes"})
        counted = upload.counted_bytes
        if self._run(_CREATE, upload.id, upload.tenant, record, counted, keep_s, quota_bytes) is not None:
            raise _quota_exceeded(quota_bytes)

    def get(self, upload_id: UploadId) -> Upload:
        """See UploadStore."""
        with redis_errors_translated():
            fields = cast("dict[str, str]", self._redis.hgetall(f"{PREFIX}upload:{upload_id}"))
        if not fields or fields["state"] == UploadState.LEAVING:
            raise _not_found()
        return _decode(fields)

    def receive(self, upload_id: UploadId, size: int, quota_bytes: int) -> Upload:
        """See UploadStore."""
        answer = self._run(_RECEIVE, upload_id, size, quota_bytes)
        if answer == "full":
            raise _quota_exceeded(quota_bytes)
        return _decode_answer(answer)

    def used_bytes(self, tenant: str) -> int:
        """See UploadStore."""
        with redis_errors_translated():
            return int(self._redis.hget(f"{PREFIX}uploads:bytes", tenant) or 0)

    def hold(self, upload_id: UploadId, job_id: JobId) -> None:
        """See UploadStore."""
        if self._run(_HOLD, upload_id, job_id) is None:
            raise _not_found()

    def release(self, upload_id: UploadId, job_id: JobId) -> Upload | None:
        """See UploadStore."""
        answer = self._run(_RELEASE, upload_id, job_id)
        return None if answer is None else _decode_answer(answer)

    def let_go(self, upload_id: UploadId, job_id: JobId, keep_s: float) -> None:
        """See UploadStore."""
        self._run(_LET_GO, upload_id, job_id, keep_s)

    def take_doubtful_holds(self, age_s: float, limit: int) -> tuple[tuple[UploadId, JobId], ...]:
        """See UploadStore."""
        pairs = (hold.split(" ") for hold in self._run(_TAKE_DOUBTFUL, age_s, limit))
        return tuple((UploadId(upload_id), JobId(job_id)) for upload_id, job_id in pairs)

    def take_unused(self, limit: int) -> tuple[Upload, ...]:
        """See UploadStore."""
        return tuple(map(_decode_answer, self._run(_TAKE_UNUSED, limit)))

    def withdraw(self, upload_id: UploadId) -> Upload:
        """See UploadStore."""
        answer = self._run(_WITHDRAW, upload_id)
        if answer == "busy":
            raise UploadInUse("A job uses this upload.")
        return _decode_answer(answer)

    def forget(self, upload_id: UploadId) -> None:
        """See UploadStore."""
        self._run(_FORGET, upload_id)

    def _run(self, script: str, *arguments: str | float) -> Any:
        with redis_errors_translated():
            return self._redis.register_script(script)(args=arguments)


def _not_found() -> UploadNotFound:
    return UploadNotFound("There is no upload with this id.")


def _quota_exceeded(quota_bytes: int) -> UploadQuotaExceeded:
    return UploadQuotaExceeded(f"Uploads may have {quota_bytes} bytes in all.")


def _decode_answer(answer: list[str] | None) -> Upload:
    if answer is None:
        raise _not_found()
    return _decode(dict(zip(answer[::2], answer[1::2], strict=True)))


def _decode(fields: Mapping[str, str]) -> Upload:
    record = Upload.model_validate_json(fields["record"])
    size = int(fields["bytes"]) if "bytes" in fields else None
    return record.model_copy(update={"state": UploadState(fields["state"]), "bytes": size})
