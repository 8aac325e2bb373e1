"""JSON bodies, read strictly: what two parsers may understand differently is refused."""

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

MAX_DEPTH = 32


def parse_strictly(data: bytes) -> Any:
    """
    The value of a JSON text in UTF-8.

    Raises json.JSONDecodeError also for duplicate keys, NaN, numbers beyond a double, lone surrogates, and nesting
    deeper than 32.
    """
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
        )
        _check(value, MAX_DEPTH)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise json.JSONDecodeError("nested too deeply", "", 0) from error
    except ValueError as error:  # UnicodeError is one
        reason = "not UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise json.JSONDecodeError(reason, "", 0) from error
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key occurs twice")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _check(value: Any, depth_left: int) -> None:
    if depth_left < 0:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        value.encode()  # a lone surrogate has no UTF-8
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode()
            _check(item, depth_left - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth_left - 1)


class _StrictRequest(Request):
    async def json(self) -> Any:
        return parse_strictly(await self.body())


class StrictJsonRoute(APIRoute):
    """A route whose JSON body is read by `parse_strictly`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly
