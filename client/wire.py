"""One exchange after another: errors get their class, and what may be repeated is repeated for a while."""

import random
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from client.errors import (
    ApiError,
    ClientError,
    LimitReached,
    ServiceUnavailable,
    SubmissionUnderWay,
    Unreachable,
    raise_for_problem,
)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
NOTHING_WAS_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
PASSING = (ServiceUnavailable, LimitReached, SubmissionUnderWay)
"""Answers that may be others a moment later."""


class Patience:
    """Says how long to pause after each fault in a row, until `limit_s` seconds have gone without a success."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.renew()

    def renew(self) -> None:
        """It went on: forget the faults so far."""
        self._deadline = time.monotonic() + self._limit_s
        self._pause_s = FIRST_PAUSE_S

    def pause_after(self, fault: ClientError) -> None:
        """Sleep, as long as the service asks for or a little longer each time; raise the fault when time is up."""
        asked_s = fault.retry_after_s if isinstance(fault, ApiError) else None
        pause_s = self._pause_s * random.uniform(0.5, 1.0) if asked_s is None else asked_s
        if time.monotonic() + pause_s > self._deadline:
            raise fault
        time.sleep(pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


class Wire:
    """
    The connections to one API and to the storage that its links lead to. Thread-safe.

    The API key goes to the API only: a link carries its own permission, and a storage refuses a request with two.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        timeout_s: float,
        patience_s: float,
        trust_env: bool,
        ca_file: str | Path | None,
    ) -> None:
        self._patience_s = patience_s
        verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._api = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_s,
            trust_env=trust_env,
            verify=verify,
        )
        self._storage = httpx.Client(timeout=timeout_s, trust_env=trust_env, verify=verify)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._api.close()
        self._storage.close()

    def patience(self) -> Patience:
        """A fresh patience, as long as this wire's."""
        return Patience(self._patience_s)

    def ask(self, method: str, path: str, *, repeatable: bool = True, **arguments: Any) -> httpx.Response:
        """An exchange with the API. One that is not repeatable is repeated only if it cannot have arrived."""
        return self._insist(lambda: self._api.request(method, path, **arguments), repeatable)

    def put(self, exchange: Callable[[httpx.Client], httpx.Response]) -> httpx.Response:
        """An exchange with the storage, repeated from its start. `exchange` opens what it sends anew each time."""
        return self._insist(lambda: exchange(self._storage), repeatable=True)

    @contextmanager
    def stream(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """GET from the storage, chunk by chunk; one try. Raises the class of the answer, or Unreachable."""
        try:
            with self._storage.stream("GET", url, headers=headers) as reply:
                if reply.is_error:
                    reply.read()
                raise_for_problem(reply)
                yield reply
        except httpx.TransportError as error:
            raise Unreachable(_words(error)) from error

    def _insist(self, exchange: Callable[[], httpx.Response], repeatable: bool) -> httpx.Response:
        patience = self.patience()
        while True:
            try:
                reply = exchange()
                raise_for_problem(reply)
                return reply
            except httpx.TransportError as error:
                fault = Unreachable(_words(error))
                if not (repeatable or isinstance(error, NOTHING_WAS_SENT)):
                    raise fault from error
                patience.pause_after(fault)
            except PASSING as error:
                if not (repeatable or isinstance(error, LimitReached)):
                    raise
                patience.pause_after(error)


def _words(error: httpx.TransportError) -> str:
    """What broke, and on the way to which host: the query of a link is nobody's business."""
    try:
        place = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    except RuntimeError:  # httpx has not attached the request
        place = "the service"
    return f"{place} does not answer: {error or type(error).__name__}"
