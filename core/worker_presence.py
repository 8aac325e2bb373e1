"""Which workers are there: each with a loaded model says so every few seconds, and `/readyz` asks how many do."""

import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from redis import Redis

from core.redis_client import connect, redis_errors_translated

PRESENCE_TTL_S = 15.0
"""A worker that has been silent for so long is not there."""

_KEY = "highsync:workers"

_ANNOUNCE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
"""

_COUNT = """
local clock = redis.call('TIME')
return redis.call('ZCOUNT', KEYS[1], '(' .. tonumber(clock[1]) + tonumber(clock[2]) / 1e6, '+inf')
"""


class WorkerPresence(Protocol):
    """Every method may raise QueueUnavailable, within about two seconds."""

    def announce(self, worker_id: str) -> None:
        """Say that this worker is there, for another PRESENCE_TTL_S."""

    def leave(self, worker_id: str) -> None:
        """Say that it is gone; also when it was not there."""

    def count(self) -> int:
        """How many workers are there."""


class RedisWorkerPresence:
    """In one sorted set, by the clock of the Redis server."""

    def __init__(self, redis: Redis, ttl_s: float = PRESENCE_TTL_S) -> None:
        self._redis = redis
        self._ttl_s = ttl_s

    @classmethod
    def connect(cls, url: str) -> "RedisWorkerPresence":
        """On the Redis at this address; connects at the first call."""
        return cls(connect(url))

    def announce(self, worker_id: str) -> None:
        """See WorkerPresence."""
        self._run(_ANNOUNCE, worker_id, self._ttl_s)

    def leave(self, worker_id: str) -> None:
        """See WorkerPresence."""
        with redis_errors_translated():
            self._redis.zrem(_KEY, worker_id)

    def count(self) -> int:
        """See WorkerPresence."""
        return int(self._run(_COUNT))

    def _run(self, script: str, *arguments: str | float) -> Any:
        with redis_errors_translated():
            return cast("Any", self._redis.eval(script, 1, _KEY, *arguments))


class MemoryWorkerPresence:
    """The same as a fake, within one process. `clock` returns seconds."""

    def __init__(self, ttl_s: float = PRESENCE_TTL_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._until: dict[str, float] = {}

    def announce(self, worker_id: str) -> None:
        """See WorkerPresence."""
        self._until[worker_id] = self._clock() + self._ttl_s

    def leave(self, worker_id: str) -> None:
        """See WorkerPresence."""
        self._until.pop(worker_id, None)

    def count(self) -> int:
        """See WorkerPresence."""
        return sum(until > self._clock() for until in self._until.values())
