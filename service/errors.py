"""Every error answer has one shape: problem+json (RFC 9457) with a code from the catalogue."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from core.errors import CATALOGUE, ErrorCode, HighSyncError, ScopeMissing
from core.metrics import REQUESTS_REFUSED

PROBLEM_TYPE = "application/problem+json"
_RETRY_AFTER_S = {429: 30, 503: 5}
_CHALLENGES = {
    ErrorCode.MISSING_API_KEY: "Bearer",
    ErrorCode.INVALID_API_KEY: 'Bearer error="invalid_token"',
    ErrorCode.SCOPE_MISSING: 'Bearer error="insufficient_scope"',
}
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
_CODE_OF_STATUS = {
    400: ErrorCode.MALFORMED_JSON,  # what FastAPI says when it cannot read a body
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.REQUEST_TOO_LARGE,
    416: ErrorCode.RANGE_NOT_SATISFIABLE,
}

_REFUSALS = frozenset(
    {
        *_CHALLENGES,
        ErrorCode.FOREIGN_PAGE,
        ErrorCode.RATE_LIMITED,
        ErrorCode.TOO_MANY_QUEUED,
        ErrorCode.TOO_MANY_FOLLOWERS,
        ErrorCode.UPLOAD_QUOTA_EXCEEDED,
    }
)

log = structlog.get_logger(__name__)


class FieldError(BaseModel):
    """One field that is wrong."""

    field: str = Field(description="Path of the field, such as `options.seed`.")
    reason: str
    line: int | None = Field(None, description="In a batch, the line of the body, 1 for the first.")
    code: ErrorCode | None = Field(None, description="In a batch, what POST /jobs would have answered to this line.")


class Problem(BaseModel):
    """What went wrong, for machines (`code`) and for people (`detail`, `hint`)."""

    type: str = Field(description="Where the code is explained.")
    title: str
    status: int
    detail: str
    code: ErrorCode
    hint: str = Field(description="What to do about it.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    request_id: str = Field(description="Quote it when you report a problem; it is in the service's logs.")
    errors: list[FieldError] = Field(default_factory=list, description="The fields that are wrong, if it is about any.")


def make_problem(code: ErrorCode, detail: str, request_id: str, errors: list[FieldError] | None = None) -> Problem:
    """The problem of this code."""
    spec = CATALOGUE[code]
    return Problem(
        type=f"/errors#{code}",
        title=spec.title,
        status=spec.http_status,
        detail=detail,
        code=code,
        hint=spec.hint,
        retryable=spec.retryable,
        request_id=request_id,
        errors=errors or [],
    )


def problem_response(
    request: Request,
    code: ErrorCode,
    detail: str,
    *,
    errors: list[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer to a request that met this error."""
    problem = make_problem(code, detail, request.state.request_id, errors)
    usual = {"X-Request-ID": problem.request_id}
    if problem.status in _RETRY_AFTER_S:
        usual["Retry-After"] = str(_RETRY_AFTER_S[problem.status])
    if code in _CHALLENGES:
        usual["WWW-Authenticate"] = _CHALLENGES[code]
    headers = {**usual, **(headers or {})}
    return JSONResponse(problem.model_dump(mode="json", exclude_none=True), problem.status, headers, PROBLEM_TYPE)


def problems(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that may answer with these codes: described, each with an example."""
    by_status: dict[int | str, dict[str, Any]] = defaultdict(dict)
    for code in (*codes, ErrorCode.INTERNAL_ERROR):
        example = make_problem(code, CATALOGUE[code].title + ".", "3f2a9c0e5b7d4e1f8a6b9c0d1e2f3a4b")
        by_status[CATALOGUE[code].http_status][code.value] = {"value": example.model_dump(mode="json")}
    schema = {"$ref": "#/components/schemas/Problem"}
    described: dict[int | str, dict[str, Any]] = {
        status: {
            "description": " · ".join(CATALOGUE[ErrorCode(code)].title for code in examples),
            "content": {PROBLEM_TYPE: {"schema": schema, "examples": examples}},
        }
        for status, examples in by_status.items()
    }
    described["default"] = {"description": "Any other error", "content": {PROBLEM_TYPE: {"schema": schema}}}
    return described


def install_error_handlers(app: FastAPI) -> None:
    """Give every exception its answer."""
    app.add_exception_handler(HighSyncError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


async def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HighSyncError)  # noqa: S101 (Starlette's handlers are typed for any exception)
    if error.code in _REFUSALS:
        REQUESTS_REFUSED.labels(error.code).inc()
    if error.spec.http_status < 500:
        return problem_response(request, error.code, error.message, headers=_advice(error))
    # What is wrong on our side is for the operator: the message may name hosts and buckets.
    log.warning("request_failed", code=error.code, reason=error.message)
    return problem_response(request, error.code, f"{error.spec.title}.")


def _advice(error: HighSyncError) -> dict[str, str]:
    """What is known of this very refusal, for the header that a client looks at."""
    if error.retry_after_s is not None:
        return {"Retry-After": str(math.ceil(error.retry_after_s))}
    if isinstance(error, ScopeMissing):
        return {"WWW-Authenticate": f'{_CHALLENGES[error.code]}, scope="{error.scope}"'}
    return {}


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    details = error.errors()
    if details[0]["type"] == "json_invalid":
        return problem_response(request, ErrorCode.MALFORMED_JSON, f"The body is not valid: {_json_fault(details[0])}.")
    code, errors = understand(details)
    return problem_response(request, code, f"{errors[0].field}: {errors[0].reason}.", errors=errors)


def understand(details: Sequence[Mapping[str, Any]]) -> tuple[ErrorCode, list[FieldError]]:
    """What pydantic says is wrong with a request, as we say it. Locations begin with the request's part, `body` say."""
    unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
    errors = [FieldError(field=_path(detail["loc"]), reason=detail["msg"]) for detail in unknown or details]
    return ErrorCode.UNKNOWN_OPTION if unknown else _common_code(details), errors


def _common_code(details: Sequence[Mapping[str, Any]]) -> ErrorCode:
    """The code that a validator raised as the type of its PydanticCustomError, when nothing else is wrong."""
    types = {detail["type"] for detail in details}
    own = [code for code in ErrorCode if code in types]
    return own[0] if len(own) == len(types) == 1 else ErrorCode.INVALID_REQUEST


def _json_fault(detail: Mapping[str, Any]) -> str:
    return str(detail.get("ctx", {}).get("error", "not JSON"))


def _path(location: tuple[int | str, ...]) -> str:
    """`("body", "options", "seed")` → `options.seed`; the body as a whole is `body`."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = _CODE_OF_STATUS.get(error.status_code, ErrorCode.INVALID_REQUEST)
    headers = {"Allow": _allowed_methods(request)} if error.status_code == 405 else error.headers
    return problem_response(request, code, str(error.detail), headers=headers)


def _allowed_methods(request: Request) -> str:
    """All methods of this path; Starlette itself names only those of the first route that fits."""

    def is_routed(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return ", ".join(filter(is_routed, _METHODS))


async def _bug(request: Request, error: Exception) -> JSONResponse:
    log.error("bug", exc_info=error)
    return problem_response(request, ErrorCode.INTERNAL_ERROR, "Something went wrong on our side.")
