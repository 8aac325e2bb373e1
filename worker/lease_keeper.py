"""Keeps a job's lease alive while the render is busy, and tells the render when to stop.

The thread does all talking to the job store during a render: it renews the lease, hands on the latest progress, and
looks for a request to cancel. So a store that is away for a while costs the render nothing. The render looks at flags.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

import structlog

from core.errors import JobNotFound, QueueUnavailable
from core.job_store import JobStore, Lease, LeaseLost
from core.jobs import Progress
from worker.bench import Vitals
from worker.interruptions import JobCanceled, ShuttingDown

TICK_S = 0.5
"""How often progress is written and a request to cancel is looked for, in seconds."""

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """A context manager around a render; `check` and `report` are for the render's own thread."""

    def __init__(
        self,
        store: JobStore,
        lease: Lease,
        *,
        renew_s: float,
        stopping: Callable[[], bool],
        vitals: Vitals,
        tick_s: float = TICK_S,
    ) -> None:
        self._store = store
        self._lease = lease
        self._renew_s = renew_s
        self._stopping = stopping
        self._vitals = vitals
        self._tick_s = min(tick_s, renew_s)
        self._renewed = time.monotonic()
        self._progress: Progress | None = None
        self._interruption: Callable[[], Exception] | None = None
        self._done = threading.Event()
        logged_as_caller = contextvars.copy_context().run
        self._thread = threading.Thread(target=logged_as_caller, args=(self._run,), name="lease-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._vitals.sign_of_life()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vitals.rest()
        self._done.set()
        self._thread.join()

    def check(self) -> None:
        """
        Raise JobCanceled, LeaseLost or ShuttingDown when the render has to stop; otherwise return at once.

        Who calls it lives: a render that does not for `stall_timeout_s` counts as hung.
        """
        self._vitals.sign_of_life()
        if self._interruption is not None:
            raise self._interruption()  # one that is kept here would keep the render's frames, with their tensors
        if self._stopping():
            raise ShuttingDown

    def report(self, progress: Progress) -> None:
        """Leave the latest progress for the next tick."""
        self._progress = progress

    def _run(self) -> None:
        away = False
        while not self._done.wait(self._tick_s):
            try:
                self._tick()
                away = False
            except QueueUnavailable as error:
                if not away:
                    log.warning("job_store_away", reason=error.message)
                away = True
            except (LeaseLost, JobNotFound) as error:
                self._interruption = partial(LeaseLost, str(error))
                return
            except Exception:  # a thread that dies silently would lose the job
                log.exception("lease_keeper_fault")

    def _tick(self) -> None:
        if time.monotonic() - self._renewed >= self._renew_s:
            cancel_requested = self._store.renew(self._lease).cancel_requested
            self._renewed = time.monotonic()
        else:
            cancel_requested = self._store.get(self._lease.job.id).cancel_requested
        if cancel_requested:
            self._interruption = JobCanceled
        progress, self._progress = self._progress, None
        if progress is not None:
            self._store.report_progress(self._lease, progress)
