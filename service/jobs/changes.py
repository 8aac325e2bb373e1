"""Wakes requests that wait for a job. One thread of the process reads all changes, however many requests wait."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

import structlog
from fastapi import Depends, FastAPI, Request

from core.errors import HighSyncError, TooManyFollowers
from core.job_store import JobStore
from core.job_store.protocol import ChangeFeed
from core.jobs import JobId

_READ_S = 1.0
_PAUSE_AFTER_FAULT_S = 1.0

log = structlog.get_logger(__name__)


class Waiter:
    """One request that waits. Made in the event loop that will wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake it, from any thread."""
        self._loop.call_soon_threadsafe(self._rung.set)

    async def rung(self, timeout_s: float) -> bool:
        """Whether something may have happened since the last call, waiting for it no longer than this."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


class Seats:
    """Counts who waits, so that neither one tenant nor all of them take every connection of the process."""

    def __init__(self, most: int, most_per_tenant: int) -> None:
        self._most = most
        self._most_per_tenant = most_per_tenant
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken_by(self, tenant: str) -> Iterator[None]:
        """A seat for as long as the block lasts. Raises TooManyFollowers. For the event loop alone."""
        if self._taken[tenant] >= self._most_per_tenant:
            raise TooManyFollowers(f"{self._most_per_tenant} requests of this tenant wait for jobs.")
        if self._taken.total() >= self._most:
            raise TooManyFollowers("As many requests wait for jobs as this process takes.")
        self._taken[tenant] += 1
        try:
            yield
        finally:
            self._taken -= Counter((tenant,))  # drops who has none left


class ChangeWatch:
    """
    Who waits for which job. The thread that reads the changes lives while anybody waits.

    A ring says only "look again": it comes too often rather than once too seldom. After trouble with Redis, when
    changes may have been missed, everybody is rung.
    """

    def __init__(self, store: JobStore, seats: Seats) -> None:
        self.seats = seats
        self._store = store
        self._lock = threading.Lock()
        self._waiters: dict[JobId, set[Waiter]] = {}
        self._thread: threading.Thread | None = None
        self._is_closing = False

    @property
    def is_closing(self) -> bool:
        """Whether the process ends, so that nobody should wait any more."""
        return self._is_closing

    def close(self) -> None:
        """Ring everybody for the last time: the process ends. From any thread."""
        self._is_closing = True
        self.ring_all()

    @contextmanager
    def listen(self, job_id: JobId) -> Iterator[Waiter]:
        """Be rung after every change of this job that happens inside. What it looks like inside, look at inside."""
        waiter = Waiter()
        with self._lock:
            self._waiters.setdefault(job_id, set()).add(waiter)
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, name="changes", daemon=True)
                self._thread.start()
        try:
            yield waiter
        finally:
            with self._lock:
                self._waiters[job_id].remove(waiter)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    def _read(self) -> None:
        feed = self._store.changes()
        is_in_step = False  # the first look at a feed decides where it begins: changes before it are not told
        while self._is_needed():
            try:
                changed = self._next(feed)
            except HighSyncError as error:
                log.warning("changes_not_read", code=error.code, reason=error.message)
                is_in_step = False
                time.sleep(_PAUSE_AFTER_FAULT_S)
                continue
            if is_in_step:
                self._ring(changed)
            else:
                self.ring_all()
                is_in_step = True

    def _next(self, feed: ChangeFeed) -> set[JobId]:
        return {event.job_id for event in feed.wait(_READ_S)}

    def _is_needed(self) -> bool:
        with self._lock:
            if self._waiters and not self._is_closing:
                return True
            self._thread = None
            return False

    def _ring(self, changed: Iterable[JobId]) -> None:
        with self._lock:
            for job_id in changed:
                for waiter in self._waiters.get(job_id, ()):
                    waiter.ring()

    def ring_all(self) -> None:
        """Have everybody look again. From any thread."""
        with self._lock:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.ring()


def install_change_watch(app: FastAPI, store: JobStore, seats: Seats) -> None:
    """Make the watch that requests listen to."""
    app.state.change_watch = ChangeWatch(store, seats)


def change_watch_of(app: FastAPI) -> ChangeWatch:
    """The watch of this app, for whoever serves it to close."""
    watch: ChangeWatch = app.state.change_watch
    return watch


async def _watch_of_request(request: Request) -> ChangeWatch:
    return change_watch_of(request.app)


Watch = Annotated[ChangeWatch, Depends(_watch_of_request)]
"""The parameter type by which an endpoint asks for the watch."""
