"""
The store of API keys in Redis.

    highsync:keys            hash    id → the record as JSON
    highsync:keys:revoked    hash    id → when it was revoked
    highsync:keys:bucket:ID  hash    `tokens` that were left, `at` some time; gone once it is full again
"""

from datetime import datetime
from typing import Any, cast

from redis import Redis

from core.api_keys.keys import ApiKey, KeyId
from core.job_store.scripts import PREFIX
from core.redis_client import connect, redis_errors_translated

_KEYS = f"{PREFIX}keys"
_REVOKED = f"{PREFIX}keys:revoked"

# key: bucket; tokens per minute → seconds until one is there, as a string
_COUNT = """
local time = redis.call('TIME')
local now, full = time[1] + time[2] / 1e6, tonumber(ARGV[1])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(full, (kept[1] or full) + math.max(0, now - (kept[2] or now)) * full / 60)
if tokens < 1 then return tostring((1 - tokens) * 60 / full) end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens - 1), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], 61)
return '0'
"""


class RedisKeyStore:
    """Keys in one hash; revocations in another, so that neither is ever read to be written."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @classmethod
    def connect(cls, url: str) -> "RedisKeyStore":
        """A store on the Redis at this address; connects at the first call."""
        return cls(connect(url))

    def add(self, key: ApiKey) -> None:
        """See KeyStore."""
        with redis_errors_translated():
            self._redis.hset(_KEYS, key.id, key.model_dump_json(exclude={"revoked_at"}))

    def get(self, key_id: KeyId) -> ApiKey | None:
        """See KeyStore."""
        with redis_errors_translated(), self._redis.pipeline() as pipe:
            pipe.hget(_KEYS, key_id)
            pipe.hget(_REVOKED, key_id)
            record, revoked_at = pipe.execute()
        return None if record is None else _key(record, revoked_at)

    def list(self) -> tuple[ApiKey, ...]:
        """See KeyStore."""
        with redis_errors_translated(), self._redis.pipeline() as pipe:
            pipe.hgetall(_KEYS)
            pipe.hgetall(_REVOKED)
            records, revoked = pipe.execute()
        keys = (_key(record, revoked.get(key_id)) for key_id, record in records.items())
        return tuple(sorted(keys, key=lambda key: (key.created_at, key.id)))

    def revoke(self, key_id: KeyId, now: datetime) -> ApiKey | None:
        """See KeyStore."""
        if self.get(key_id) is None:
            return None
        with redis_errors_translated():
            self._redis.hsetnx(_REVOKED, key_id, now.isoformat())
        return self.get(key_id)

    def revocations(self) -> int:
        """See KeyStore."""
        with redis_errors_translated():
            return self._redis.hlen(_REVOKED)

    def any(self) -> bool:
        """See KeyStore."""
        with redis_errors_translated():
            return bool(self._redis.exists(_KEYS))

    def take_token(self, key_id: KeyId, per_minute: int) -> float:
        """See KeyStore."""
        with redis_errors_translated():
            script = self._redis.register_script(_COUNT)
            return float(cast("Any", script(keys=[f"{PREFIX}keys:bucket:{key_id}"], args=[per_minute])))


def _key(record: str, revoked_at: str | None) -> ApiKey:
    key = ApiKey.model_validate_json(record)
    return key if revoked_at is None else key.model_copy(update={"revoked_at": datetime.fromisoformat(revoked_at)})
