"""What surrounds every request: its id, its log line, its metrics, safe headers, and a limit on its body."""

import re
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import ErrorCode
from core.spans import Span
from core.tracing import span
from service.errors import problem_response
from service.metrics import record_request, route_of

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROBES = frozenset({"/livez", "/readyz", "/metrics"})

log = structlog.get_logger(__name__)


class RequestContext:
    """
    Gives a request its id (the caller's `X-Request-ID` if it is plain) and its trace, logs and counts it, and adds
    headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id", ""))
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.monotonic()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        if scope["path"] in _PROBES:
            await self._app(scope, receive, send_with_headers)
            return
        with structlog.contextvars.bound_contextvars(request_id=request_id), _step_of(scope) as step:
            try:
                await self._app(scope, receive, send_with_headers)
            finally:
                seconds = time.monotonic() - started
                record_request(scope, status, seconds)
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    seconds=round(seconds, 4),
                    key_id=scope["state"].get("key_id"),
                )
                step.rename(f"{scope['method']} {route_of(scope) or 'unknown'}")
                step.note({"http.request.method": scope["method"], "http.response.status_code": status})


def _step_of(scope: Scope) -> AbstractContextManager[Span]:
    """The request as a step of the caller's trace, if it names one. The route gives it its name: that has no ids."""
    return span(scope["method"], parent=Headers(scope=scope).get("traceparent"), kind="server")


def _request_id(wish: str) -> str:
    return wish if _REQUEST_ID.fullmatch(wish) else uuid.uuid4().hex


class BodyLimit:
    """
    Refuses bodies over `max_bytes`, declared or real. `max_bytes_of` names other limits for single paths; files on
    their way to storage have a limit of their own.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_bytes_of: Mapping[str, int], files_path: str) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_bytes_of = max_bytes_of
        self._files_path = files_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"].startswith(self._files_path):
            await self._app(scope, receive, send)
            return
        max_bytes = self._max_bytes_of.get(scope["path"], self._max_bytes)
        too_large = f"The body has more than {max_bytes} bytes."
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > max_bytes:
            refusal = problem_response(Request(scope), ErrorCode.REQUEST_TOO_LARGE, too_large)
            await refusal(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise HTTPException(413, too_large)
            return message

        await self._app(scope, receive_limited, send)
