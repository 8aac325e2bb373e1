"""
Which requests with an `Idempotency-Key` were answered, and how: the first one acts, equal ones get its answer.

A key is claimed before anything is made, together with an id for what will be made. A process that dies in between
leaves both behind; when its claim has run out the next request goes on under the same id, and making the same thing
twice is harmless (`JobStore.create`). So there is one thing, whatever happens.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis import Redis

from core.errors import IdempotencyKeyInUse, IdempotencyKeyReused
from core.redis_client import connect, redis_errors_translated

CLAIM_S = 30.0
"""How long a claim keeps others out: longer than any answer to a POST takes."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to act on a key. `reserved_id` names what is made; `token` counts the claims on the key."""

    tenant: str
    key: str
    token: int
    reserved_id: str


class IdempotencyKeys(Protocol):
    """Keys and answers, per tenant. Every method may raise QueueUnavailable, within about two seconds."""

    def claim(self, tenant: str, key: str, fingerprint: str, new_id: str) -> Claim | str:
        """
        The answer that was kept for this key, or the right to make it. `new_id` is reserved unless one is already.

        Raises IdempotencyKeyReused when the key came with another fingerprint before, and IdempotencyKeyInUse while
        somebody else's claim is valid.
        """

    def keep(self, claim: Claim, answer: str) -> None:
        """Answer all further requests with this; the first answer stays."""

    def give_up(self, claim: Claim, *, nothing_made: bool) -> None:
        """
        Let others claim the key at once. If nothing was made, not by an earlier claim either, the key is as new: it
        may come with another request. A claim that has run out gives up nothing.
        """


# fingerprint, new id, claim time, time to keep → word[, token or answer[, id]]
_CLAIM = """
local fingerprint, new_id, claim_s, ttl_s = unpack(ARGV)
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local before = redis.call('HMGET', KEYS[1], 'fingerprint', 'answer', 'claimed_until')
if before[1] and before[1] ~= fingerprint then return {'reused'} end
if before[2] then return {'answered', before[2]} end
if before[3] and tonumber(before[3]) > now then return {'in use'} end
redis.call('HSET', KEYS[1], 'fingerprint', fingerprint, 'claimed_until', string.format('%.6f', now + claim_s))
redis.call('HSETNX', KEYS[1], 'id', new_id)
local token = redis.call('HINCRBY', KEYS[1], 'token', 1)
redis.call('EXPIRE', KEYS[1], ttl_s)
return {'claimed', token, redis.call('HGET', KEYS[1], 'id')}
"""

# answer, time to keep
_KEEP = """
if redis.call('EXISTS', KEYS[1]) == 0 then return end
redis.call('HSETNX', KEYS[1], 'answer', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""

# token, 1 if nothing was made
_GIVE_UP = """
local token, nothing_made = unpack(ARGV)
if redis.call('HGET', KEYS[1], 'token') ~= token then return end
if nothing_made == '1' and token == '1' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HDEL', KEYS[1], 'claimed_until')
end
"""


class RedisIdempotencyKeys:
    """A hash per key, which Redis forgets `ttl_s` seconds after the key was used; by the clock of the Redis server."""

    def __init__(self, redis: Redis, ttl_s: int, claim_s: float = CLAIM_S) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._claim_s = claim_s

    @classmethod
    def connect(cls, url: str, ttl_s: int) -> "RedisIdempotencyKeys":
        """On the Redis at this address; connects at the first call."""
        return cls(connect(url), ttl_s)

    def claim(self, tenant: str, key: str, fingerprint: str, new_id: str) -> Claim | str:
        """See IdempotencyKeys."""
        word, *facts = self._run(_CLAIM, tenant, key, fingerprint, new_id, self._claim_s, self._ttl_s)
        if word == "reused":
            raise _reused()
        if word == "in use":
            raise _in_use()
        return str(facts[0]) if word == "answered" else Claim(tenant, key, int(facts[0]), str(facts[1]))

    def keep(self, claim: Claim, answer: str) -> None:
        """See IdempotencyKeys."""
        self._run(_KEEP, claim.tenant, claim.key, answer, self._ttl_s)

    def give_up(self, claim: Claim, *, nothing_made: bool) -> None:
        """See IdempotencyKeys."""
        self._run(_GIVE_UP, claim.tenant, claim.key, claim.token, int(nothing_made))

    def _run(self, script: str, tenant: str, key: str, *arguments: str | float) -> Any:
        name = f"highsync:idempotency:{tenant}:{hashlib.sha256(key.encode()).hexdigest()}"
        with redis_errors_translated():
            return self._redis.register_script(script)(keys=[name], args=arguments)


@dataclass(slots=True)
class _Entry:
    fingerprint: str
    reserved_id: str
    forget_at: float
    token: int = 0
    claimed_until: float = 0.0
    answer: str | None = None


@dataclass(slots=True)
class MemoryIdempotencyKeys:
    """The same as a fake, within one process. `clock` returns seconds."""

    ttl_s: float = 86_400.0
    claim_s: float = CLAIM_S
    clock: Callable[[], float] = time.monotonic
    _entries: dict[tuple[str, str], _Entry] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, tenant: str, key: str, fingerprint: str, new_id: str) -> Claim | str:
        """See IdempotencyKeys."""
        with self._lock:
            now = self.clock()
            self._entries = {name: entry for name, entry in self._entries.items() if entry.forget_at > now}
            entry = self._entries.setdefault((tenant, key), _Entry(fingerprint, new_id, now + self.ttl_s))
            if entry.fingerprint != fingerprint:
                raise _reused()
            if entry.answer is not None:
                return entry.answer
            if entry.claimed_until > now:
                raise _in_use()
            entry.token += 1
            entry.claimed_until, entry.forget_at = now + self.claim_s, now + self.ttl_s
            return Claim(tenant, key, entry.token, entry.reserved_id)

    def keep(self, claim: Claim, answer: str) -> None:
        """See IdempotencyKeys."""
        with self._lock:
            entry = self._entries.get((claim.tenant, claim.key))
            if entry is not None:
                entry.answer = entry.answer or answer
                entry.forget_at = self.clock() + self.ttl_s

    def give_up(self, claim: Claim, *, nothing_made: bool) -> None:
        """See IdempotencyKeys."""
        with self._lock:
            entry = self._entries.get((claim.tenant, claim.key))
            if entry is None or entry.token != claim.token:
                return
            if nothing_made and claim.token == 1:
                del self._entries[claim.tenant, claim.key]
            else:
                entry.claimed_until = 0.0


def _reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused("This Idempotency-Key came with another request before.")


def _in_use() -> IdempotencyKeyInUse:
    return IdempotencyKeyInUse("The first request with this Idempotency-Key is not answered yet.")
