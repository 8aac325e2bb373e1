"""
Several API processes on one machine: they take connections from the same socket, so that one port has more than one
core. Each is an API of its own; what they share lies in Redis and storage, as with replicas on several machines.
"""

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

import structlog

_LOOK_S = 0.2
_PAUSE_S = 1.0  # before a replacement: what kills processes again and again must not keep the machine busy

log = structlog.get_logger(__name__)

Serve = Callable[[socket.socket], int]
"""Serves connections of this socket until a signal; the exit status. Picklable: it runs in a new process."""


class Replicas:
    """
    Keeps so many processes serving. One that is killed or ends without being asked is replaced. One that fails by
    itself ends all: it could not start, and neither could another.
    """

    def __init__(self, serve: Serve, number: int, listener: socket.socket) -> None:
        self._serve = serve
        self._listener = listener
        self._ending = threading.Event()
        self._processes: list[SpawnProcess] = []
        self._number = number

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT, which every process hears of; a second one does not wait. The exit status."""
        status = 0
        with _shared_metrics(), self._signals_heard():
            self._processes = [self._start() for _ in range(self._number)]
            while not self._ending.is_set() and status == 0:
                wait([process.sentinel for process in self._processes], _LOOK_S)
                status = self._replace_the_dead()
            for process in self._processes:
                process.terminate()
            for process in self._processes:
                process.join()
        return status

    def _start(self) -> SpawnProcess:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_serve_in_child, args=(self._serve, self._listener))
        process.start()
        return process

    def _replace_the_dead(self) -> int:
        """The exit status of one that has failed; 0 when there is none."""
        for number, process in enumerate(self._processes):
            if process.exitcode is None or self._ending.is_set():
                continue
            if process.exitcode > 0:
                return process.exitcode
            log.warning("api_process_replaced", pid=process.pid, exit_code=process.exitcode)
            self._ending.wait(_PAUSE_S)
            self._processes[number] = self._start()
        return 0

    @contextmanager
    def _signals_heard(self) -> Iterator[None]:
        def end(signal_number: int, frame: object) -> None:
            if self._ending.is_set():
                for process in self._processes:
                    process.kill()
            self._ending.set()

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Have the processes that are started inside count together: whichever is asked answers for all."""
    with tempfile.TemporaryDirectory(prefix="highsync-api-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by prometheus_client when a child imports it
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _serve_in_child(serve: Serve, listener: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches the parent as well, which tells us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    raise SystemExit(serve(listener))


def _end_with_parent() -> None:
    """A parent that was killed replaces nobody any more, and its own replacement wants the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
