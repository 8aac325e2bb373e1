"""Fetching a file from somebody else's server."""

import errno
import hashlib
import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import httpcore

from core.errors import DownloadFailed, DownloadNotFound, InputTooLarge, InsufficientScratch
from core.outgoing.addresses import FetchPolicy
from core.outgoing.connection import BASE_HEADERS, EXCHANGE_ERRORS, LOOK_S, Pace, connections, header, reason
from core.outgoing.url import OutgoingUrl
from core.settings import Settings
from core.sniff import SNIFF_BYTES

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CLIENT_ERRORS_WORTH_A_RETRY = frozenset({408, 425, 429})
_STRONG_ETAG = re.compile(rb'"[\x21\x23-\x7e]*"')
_CONTENT_RANGE = re.compile(rb"bytes (\d{1,19})-\d{1,19}/(\d{1,19})")

OnBytes = Callable[[int, int | None], None]
CheckStart = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one download may cost."""

    max_bytes: int
    timeout_s: float = 1800.0
    min_bytes_per_s: int = 0
    pace_window_s: float = 30.0
    attempts: int = 4
    retry_pause_s: float = 1.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The operator's limits for inputs."""
        return cls(
            max_bytes=settings.input_max_bytes,
            timeout_s=settings.fetch_timeout_s,
            min_bytes_per_s=settings.fetch_min_bytes_per_s,
        )


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file as it arrived. `content_type` is the other side's claim; nothing here relies on it."""

    bytes: int
    sha256: str
    content_type: str | None


def download(
    url: str,
    dest: Path,
    limits: FetchLimits,
    policy: FetchPolicy,
    on_bytes: OnBytes | None = None,
    check_start: CheckStart | None = None,
) -> Downloaded:
    """
    Fetch a file to `dest`; a broken transfer is resumed where it stopped, if the server can. On failure `dest` is gone.

    `on_bytes(received, total or None)` is called as data arrives, and every second while none does, and may raise to
    stop. So may `check_start(head)`: it
    sees the first bytes of the file before the rest is taken.
    Raises UnsupportedUrl, AddressBlocked, DownloadNotFound, DownloadFailed, InputTooLarge, InsufficientScratch.
    """
    parsed = OutgoingUrl.parse(url)
    try:
        with dest.open("wb") as file:
            return _Transfer(file, limits, policy, on_bytes, check_start).run(parsed)
    except BaseException as error:
        dest.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InsufficientScratch("The disk for temporary files is full.") from error
        raise


class _Broken(Exception):
    """The transfer failed in a way that a further attempt may mend."""


class _Transfer:
    """One file on its way, over as many connections as it takes."""

    def __init__(
        self,
        file: BinaryIO,
        limits: FetchLimits,
        policy: FetchPolicy,
        on_bytes: OnBytes | None,
        check_start: CheckStart | None,
    ) -> None:
        self._file = file
        self._check_start = check_start
        self._limits = limits
        self._policy = policy
        self._on_bytes = on_bytes
        self._pace = Pace(limits.timeout_s, limits.min_bytes_per_s, limits.pace_window_s, self._tell)
        self._begin()

    def _start_over(self) -> None:
        if self._received:
            self._file.seek(0)
            self._file.truncate()
        self._begin()

    def _begin(self) -> None:
        self._received = 0
        self._head = b""
        self._digest = hashlib.sha256()
        self._total: int | None = None
        self._source: OutgoingUrl | None = None
        self._etag: bytes | None = None

    def run(self, url: OutgoingUrl) -> Downloaded:
        """Try until the file is complete, the attempts are used up or the time is over."""
        for attempt in range(1, self._limits.attempts + 1):
            try:
                with connections(self._policy, self._pace) as pool:
                    content_type = self._attempt(pool, url)
                return Downloaded(self._received, self._digest.hexdigest(), content_type)
            except (*EXCHANGE_ERRORS, _Broken) as error:
                pause_s = self._limits.retry_pause_s * 2 ** (attempt - 1)
                if attempt == self._limits.attempts or self._pace.left_s() <= pause_s:
                    raise DownloadFailed(f"{url.host} did not deliver the file: {reason(error)}.") from error
                self._wait(pause_s)
        raise AssertionError("a download has at least one attempt")

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._tell()
            time.sleep(min(left_s, LOOK_S))

    def _tell(self) -> None:
        if self._on_bytes is not None:
            self._on_bytes(self._received, self._total)

    def _attempt(self, pool: httpcore.ConnectionPool, url: OutgoingUrl) -> str | None:
        """Take the file, or what is missing of it. Returns its content type."""
        if not self._received or self._etag is None:
            self._start_over()
        source, response = self._final_response(pool, self._source or url)
        with closing(response):
            self._pace.start_body()
            self._check(response, source)
            for chunk in response.iter_stream():
                self._take(chunk)
        if self._total not in (None, self._received):
            raise _Broken("the connection ended early")
        if self._check_start is not None and self._received < SNIFF_BYTES:
            self._check_start(self._head)
        content_type = header(response, b"content-type")
        return content_type.decode("latin-1") if content_type else None

    def _final_response(self, pool: httpcore.ConnectionPool, url: OutgoingUrl) -> tuple[OutgoingUrl, httpcore.Response]:
        """The answer behind all redirects, and where it is from. A version's mark means nothing at another URL."""
        for _ in range(_MAX_REDIRECTS + 1):
            response = pool.handle_request(url.request("GET", (*BASE_HEADERS, *self._resume_headers())))
            location = header(response, b"location")
            if response.status not in _REDIRECTS or location is None:
                return url, response
            response.close()
            self._start_over()
            url = url.follow(location)
        raise DownloadFailed(f"More than {_MAX_REDIRECTS} redirects.")

    def _resume_headers(self) -> tuple[tuple[str, str], ...]:
        if not self._received or self._etag is None:
            return ()
        return (("Range", f"bytes={self._received}-"), ("If-Range", self._etag.decode("ascii")))

    def _check(self, response: httpcore.Response, source: OutgoingUrl) -> None:
        """Return if the response's body continues or begins the file."""
        status = response.status
        if status >= 500 or status in _CLIENT_ERRORS_WORTH_A_RETRY:
            raise _Broken(f"it answered with status {status}")
        if 400 <= status < 500 and self._received:  # no such range, or the link to it has expired
            self._start_over()
            raise _Broken("it does not have the rest of the file")
        if 400 <= status < 500:
            raise DownloadNotFound(f"The server answered with status {status}.")
        if (header(response, b"content-encoding") or b"identity").lower() != b"identity":
            raise DownloadFailed("The server sends a compressed copy although none was asked for.")
        if status == 206 and self._received:
            self._check_continuation(response)
        elif status == 200:
            self._start_file(response, source)
        else:
            raise DownloadFailed(f"The server answered with status {status}.")

    def _check_continuation(self, response: httpcore.Response) -> None:
        """A 206 must go on exactly where we stopped, in the same version of the file; else begin again."""
        span = _CONTENT_RANGE.fullmatch(header(response, b"content-range") or b"")
        same_place = span is not None and int(span[1]) == self._received
        same_size = span is not None and self._total in (None, int(span[2]))
        same_version = self._etag is not None and _strong_etag(response) == self._etag
        if span is None or not (same_place and same_size and same_version):
            self._start_over()
            raise _Broken("the file changed on the way")
        self._expect(int(span[2]))

    def _start_file(self, response: httpcore.Response, source: OutgoingUrl) -> None:
        self._start_over()
        self._source, self._etag = source, _strong_etag(response)
        declared = header(response, b"content-length")
        if declared is not None:
            self._expect(int(declared))

    def _expect(self, total: int) -> None:
        self._total = total
        self._check_size(total)

    def _take(self, chunk: bytes) -> None:
        self._check_size(self._received + len(chunk))
        self._file.write(chunk)
        self._digest.update(chunk)
        self._received += len(chunk)
        self._look_at_start(chunk)
        self._tell()

    def _look_at_start(self, chunk: bytes) -> None:
        if self._check_start is not None and len(self._head) < SNIFF_BYTES:
            self._head = (self._head + chunk)[:SNIFF_BYTES]
            if len(self._head) == SNIFF_BYTES:
                self._check_start(self._head)

    def _check_size(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise InputTooLarge(f"The file is larger than {self._limits.max_bytes} bytes.")


def _strong_etag(response: httpcore.Response) -> bytes | None:
    """What identifies this version of the file byte for byte. A date does not: a file can change twice in a second."""
    etag = header(response, b"etag")
    return etag if etag is not None and _STRONG_ETAG.fullmatch(etag) else None
