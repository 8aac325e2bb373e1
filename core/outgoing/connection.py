"""Connections that go to checked addresses only, and give up on an exchange that takes too long."""

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import httpcore
import httpx

from core.outgoing.addresses import FetchPolicy, NeighbourUnknown

_CONNECT_TIMEOUT_S = 10.0
_MAX_HEAD_BYTES = 1024**2  # of all that comes before the body: h11 limits one answer's headers, but not the 1xx answers

LOOK_S = 1.0
"""How often somebody who waits for the other side looks whether there is a reason to stop."""

BASE_HEADERS = (("User-Agent", "HighSync"), ("Accept", "*/*"), ("Accept-Encoding", "identity"))
EXCHANGE_ERRORS = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


class Pace:
    """
    Limits on the time, speed and headers of one exchange, kept at the socket so that all that arrives is counted.

    `look` is called every second while the other side keeps silent, and may raise to stop.
    """

    def __init__(
        self,
        timeout_s: float,
        min_bytes_per_s: int = 0,
        window_s: float = 30.0,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self.look = look
        self._deadline = time.monotonic() + timeout_s
        self._window_s = window_s
        self._least_bytes = min_bytes_per_s * window_s
        self.start_attempt()

    def start_attempt(self) -> None:
        """Measure the speed from now on, and limit what comes before the body."""
        self._head_bytes_left: int | None = _MAX_HEAD_BYTES
        self._start_window()

    def start_body(self) -> None:
        """The headers have come: from now on the size is the caller's business."""
        self._head_bytes_left = None

    def _start_window(self) -> None:
        self._window_end = time.monotonic() + self._window_s
        self._window_bytes = 0

    def left_s(self) -> float:
        """Seconds until the whole exchange must be over; negative afterwards."""
        return self._deadline - time.monotonic()

    def remaining_s(self) -> float:
        """Seconds the next socket operation may take. ReadTimeout when the time is over."""
        remaining = self.left_s()
        if remaining <= 0:
            raise httpcore.ReadTimeout("the whole exchange takes too long")
        return remaining

    def read_timeout_s(self) -> float:
        """Seconds the next read may take: to the end of the window, or of the exchange if that comes first."""
        if time.monotonic() >= self._window_end:
            if self._window_bytes < self._least_bytes:
                raise httpcore.ReadTimeout("the other side sends too slowly")
            self._start_window()
        return min(self.remaining_s(), max(self._window_end - time.monotonic(), 0.001))

    def count(self, received: int) -> None:
        """Note bytes that arrived. ReadError when headers have no end."""
        self._window_bytes += received
        if self._head_bytes_left is not None:
            self._head_bytes_left -= received
            if self._head_bytes_left < 0:
                raise httpcore.ReadError("its headers have no end")


class _PacedStream(httpcore.NetworkStream):
    """A connection whose reads and writes obey a pace instead of their own timeouts."""

    def __init__(self, stream: httpcore.NetworkStream, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        until = time.monotonic() + self._pace.read_timeout_s()
        while (left_s := until - time.monotonic()) > LOOK_S:
            with suppress(httpcore.ReadTimeout):
                return self._counted(self._stream.read(max_bytes, LOOK_S))
            self._pace.look()
        return self._counted(self._stream.read(max_bytes, max(left_s, 0.001)))

    def _counted(self, data: bytes) -> bytes:
        self._pace.count(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._pace.remaining_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = min(self._pace.remaining_s(), _CONNECT_TIMEOUT_S)
        return _PacedStream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._pace)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects by name only through the policy: to an address that has been checked, and to no other."""

    def __init__(self, policy: FetchPolicy, pace: Pace) -> None:
        self._policy = policy
        self._pace = pace
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._policy.addresses(host, port)
        except NeighbourUnknown as error:
            raise httpcore.ConnectError(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError("the host name is not known") from error
        failure = httpcore.ConnectError("the host has no address")
        for address in addresses:
            timeout = min(self._pace.remaining_s(), _CONNECT_TIMEOUT_S)
            try:
                return _PacedStream(self._sockets.connect_tcp(str(address), port, timeout), self._pace)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = httpcore.ConnectError(f"no connection: {error}")
        raise failure


@cache
def tls_context() -> ssl.SSLContext:
    """Checks certificates and names, by SSL_CERT_FILE where that is set. Kept: reading all roots takes a while."""
    return httpx.create_ssl_context()


@contextmanager
def connections(policy: FetchPolicy, pace: Pace) -> Iterator[httpcore.ConnectionPool]:
    """A pool for one exchange. Nothing is kept for the next one, so nothing leaks from one job to another."""
    pace.start_attempt()
    backend = _CheckedBackend(policy, pace)
    with httpcore.ConnectionPool(ssl_context=tls_context(), network_backend=backend) as pool:
        yield pool


def reason(error: Exception) -> str:
    """What went wrong, for the user. What is no HTTP is not quoted: it may be long, or nobody's business."""
    if isinstance(error, httpcore.ProtocolError):
        return "it broke off, or what it says is not HTTP"
    return str(error)


def header(response: httpcore.Response, name: bytes) -> bytes | None:
    """The first header of this (lower-case) name."""
    return next((value for key, value in response.headers if key.lower() == name), None)
