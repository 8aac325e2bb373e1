"""Says every few seconds that this worker is there, for as long as its process lives."""

import threading
from collections.abc import Callable

import structlog

from core.errors import QueueUnavailable
from core.worker_presence import PRESENCE_TTL_S, WorkerPresence

log = structlog.get_logger(__name__)


class PresenceKeeper:
    """A thread that announces the worker. Redis may be away: then nobody can be told, and nobody is asked."""

    def __init__(self, presence: WorkerPresence, worker_id: str, *, every_s: float = PRESENCE_TTL_S / 3) -> None:
        self._presence = presence
        self._worker_id = worker_id
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Announce the worker from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Say that it is gone."""
        self._done.set()
        self._thread.join()
        self._quietly(self._presence.leave)

    def _run(self) -> None:
        self._quietly(self._presence.announce)
        while not self._done.wait(self._every_s):
            self._quietly(self._presence.announce)

    def _quietly(self, say: Callable[[str], None]) -> None:
        try:
            say(self._worker_id)
        except QueueUnavailable as error:
            log.warning("presence_not_told", reason=error.message)
