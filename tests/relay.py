"""A network between a client and a local server that tests can cut, choke and mend, while the server itself goes on."""

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

_PIECE_BYTES = 16 * 1024


class Relay:
    """
    Passes TCP connections on to a port of this machine.

    `cut()` breaks those that there are and every new one; `stall()` keeps them open and passes nothing on; with
    `bytes_per_s` it passes things on, but slowly; `mend()` ends all of it.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._cut = False
        self._flowing = threading.Event()
        self._flowing.set()
        self.bytes_per_s: float | None = None

    @property
    def url(self) -> str:
        """The server's address over this network."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """As when the server is down."""
        with self._lock:
            self._cut = True
            for open_socket in self._sockets:
                with suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """As when a switch drops packets."""
        self._flowing.clear()

    def mend(self) -> None:
        """As good as new."""
        with self._lock:
            self._cut = False
        self.bytes_per_s = None
        self._flowing.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            thread = threading.Thread(target=self._connect, args=(near,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _connect(self, near: socket.socket) -> None:
        """One connection, from its begin to its end."""
        with near, socket.create_connection(self._target) as far:
            with self._lock:
                if self._cut:
                    return
                self._sockets += [near, far]
            back = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
            back.start()
            self._pass_on(near, far)
            back.join()
            with self._lock:
                self._sockets = [known for known in self._sockets if known not in (near, far)]

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                self._flowing.wait()
                if self.bytes_per_s is not None:
                    time.sleep(len(piece) / self.bytes_per_s)
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mend()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        self.cut()
        for thread in self._threads:
            thread.join()
