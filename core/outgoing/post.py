"""Sending JSON to somebody else's server."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpcore

from core.outgoing.addresses import FetchPolicy
from core.outgoing.connection import BASE_HEADERS, EXCHANGE_ERRORS, Pace, connections, header, reason
from core.outgoing.url import OutgoingUrl


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """How the other side took a POST. `retry_after_s` if it asked for a pause."""

    status: int
    retry_after_s: float | None


class PostFailed(Exception):
    """The other side could not be reached, or did not answer in time."""


def post_json(
    url: str, body: bytes, headers: Mapping[str, str], policy: FetchPolicy, timeout_s: float = 15.0
) -> PostAnswer:
    """
    POST a JSON body. Redirects are not followed and the reply's body is not read.

    Raises UnsupportedUrl, AddressBlocked, and PostFailed when there is no answer within `timeout_s` seconds.
    """
    lengths = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    request = OutgoingUrl.parse(url).request("POST", (*BASE_HEADERS, *lengths, *headers.items()), body)
    try:
        with connections(policy, Pace(timeout_s)) as pool:
            response = pool.handle_request(request)
            response.close()
    except EXCHANGE_ERRORS as error:
        raise PostFailed(reason(error)) from error
    return PostAnswer(response.status, _retry_after_s(response))


def _retry_after_s(response: httpcore.Response) -> float | None:
    """Seconds of a Retry-After header. Its date form is ignored: clocks differ, and rate limiters send seconds."""
    value = header(response, b"retry-after") or b""
    return float(value) if value.isdigit() and len(value) < 10 else None
