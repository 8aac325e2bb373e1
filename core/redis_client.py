"""The one door to Redis: how we connect, and what its failures mean."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.client import Pipeline
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from core.errors import QueueUnavailable

CONNECT_TIMEOUT_S = 1.0
REPLY_TIMEOUT_S = 1.5  # with `appendfsync always` a reply waits for the disk
CLIENT_NAME = "highsync"  # as Redis lists us
PAUSE_S = 1.0  # after which a silent server is asked again

UNAVAILABLE: tuple[type[Exception], ...] = (
    ConnectionError,  # also: still loading its data, too many clients, wrong password
    TimeoutError,
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    MasterDownError,
)
"""redis-py's exceptions that mean: not now, and not our bug."""

UNAVAILABLE_REPLIES = ("MISCONF", "NOREPLICAS", "BUSY", "OOM", "READONLY", "LOADING")
"""First words of the same kind of answer where redis-py has no class for it or a script wraps it."""


class _Turns:
    """
    Asks a server that keeps silent by one caller at a time, so that the others need not wait to hear it.

    Without that, hundreds of requests in a row would each wait for a timeout of their own, and hold a thread meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._silent = False
        self._ask_again_at = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Around a question. Raises ConnectionError at once while a server that did not answer is not to be asked."""
        if self._silent:
            self._wait_for_none()
        try:
            yield
        except TimeoutError:
            self._silent, self._ask_again_at = True, time.monotonic() + PAUSE_S
            raise
        self._silent = False

    def _wait_for_none(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._silent and now < self._ask_again_at:
                raise ConnectionError("no answer a moment ago")
            self._ask_again_at = now + CONNECT_TIMEOUT_S + REPLY_TIMEOUT_S  # this caller asks for all


class _ImpatientRedis(Redis):
    """A client that takes turns."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._turns = _Turns()

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """See Redis."""
        with self._turns.taken():
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "_ImpatientPipeline":
        """See Redis."""
        pipeline = _ImpatientPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.turns = self._turns
        return pipeline


class _ImpatientPipeline(Pipeline):
    """Its commands take a turn together."""

    turns: _Turns

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """See Pipeline."""
        with self.turns.taken():
            return super().execute(raise_on_error)


def connect(url: str, *, decoded: bool = True, database: int | None = None) -> Redis:
    """
    A thread-safe client (a pool; connects at the first command) that answers or fails within about two seconds, and at
    once when it has just failed to get an answer.

    `decoded` False: answers are bytes. `database` wins over the one that the address names.

    A connection that the server has closed meanwhile is replaced once, at once. redis-py's own defaults would try ten
    times with growing pauses, and have changed between releases, so everything is said here.
    """
    redis = _ImpatientRedis.from_url(
        url,
        decode_responses=decoded,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=REPLY_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=0,
        retry=Retry(ConstantBackoff(0.05), retries=1, supported_errors=(ConnectionError,)),
        client_name=CLIENT_NAME,
    )
    if database is not None:
        redis.connection_pool.connection_kwargs["db"] = database
    return redis


@contextmanager
def redis_errors_translated() -> Iterator[None]:
    """Raise QueueUnavailable for whatever Redis or the way to it may suffer. Our own mistakes pass as they are."""
    try:
        yield
    except UNAVAILABLE as error:
        raise QueueUnavailable(f"Redis: {error}") from error
    except ResponseError as error:
        if not str(error).startswith(UNAVAILABLE_REPLIES):
            raise
        raise QueueUnavailable(f"Redis: {error}") from error
