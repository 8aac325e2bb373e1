"""Trying again while an outside thing is away for a moment."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from core.errors import StorageUnavailable
from core.storage import Storage, StoredObject

_Answer = TypeVar("_Answer")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

log = structlog.get_logger(__name__)


def keep_trying(
    operation: Callable[[], _Answer],
    *,
    while_raising: type[Exception],
    give_up_after_s: float,
    before_retry: Callable[[], None] = lambda: None,
) -> _Answer:
    """
    Call `operation` until it stops raising `while_raising`, with growing pauses.

    `before_retry` may raise to end the waiting. After `give_up_after_s` the operation's own error passes through.
    """
    deadline = time.monotonic() + give_up_after_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return operation()
        except while_raising as error:
            if time.monotonic() + pause_s > deadline:
                raise
            log.warning("retrying", reason=str(error), pause_s=pause_s)
        time.sleep(pause_s)
        before_retry()
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class PatientStorage:
    """
    The storage as a render sees it: an outage shorter than `patience_s` is a delay, a longer one StorageUnavailable.

    `check` is called while files are on their way and while waiting, and raises when the render has to stop.
    """

    def __init__(self, storage: Storage, *, patience_s: float, check: Callable[[], None]) -> None:
        self._storage = storage
        self._patience_s = patience_s
        self._check = check

    def put_file(self, key: str, path: Path, content_type: str) -> StoredObject:
        """See Storage."""
        return self._patiently(partial(self._storage.put_file, key, path, content_type, self._check))

    def fetch_file(self, key: str, path: Path) -> StoredObject:
        """See Storage."""
        return self._patiently(partial(self._storage.fetch_file, key, path, self._check))

    def stat(self, key: str) -> StoredObject:
        """See Storage."""
        return self._patiently(partial(self._storage.stat, key))

    def list(self, prefix: str) -> tuple[str, ...]:
        """See Storage."""
        return self._patiently(lambda: tuple(self._storage.list(prefix)))

    def delete_prefix(self, prefix: str) -> None:
        """See Storage."""
        self._patiently(partial(self._storage.delete_prefix, prefix))

    def _patiently(self, operation: Callable[[], _Answer]) -> _Answer:
        return keep_trying(
            operation,
            while_raising=StorageUnavailable,
            give_up_after_s=self._patience_s,
            before_retry=self._check,
        )
