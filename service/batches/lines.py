"""From the lines of a batch to its jobs, or to what is wrong with each line."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from core.batches import MAX_JOBS
from core.errors import ErrorCode, HighSyncError, InvalidBatch
from service.errors import FieldError, problem_response, understand
from service.jobs.intake import addresses_of, check_address
from service.jobs.schemas import NewJob
from service.services import Services
from service.strict_json import parse_strictly

_CHECKED_AT_ONCE = 8  # a look at an upload is a question to Redis and one to the storage


class WrongLines(InvalidBatch):
    """Some lines are no jobs that could be accepted; `errors` says which and why."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        wrong = {error.line for error in errors}
        super().__init__(f"{len(wrong)} lines are wrong, the first is line {min(filter(None, wrong))}.")
        self.errors = list(errors)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a batch: the job it holds, or what is wrong with it. `number` is 1 for the first line of the body."""

    number: int
    job: NewJob | None
    errors: tuple[FieldError, ...] = ()


def read_lines(body: bytes) -> list[Line]:
    """Every line of a JSONL body that is not blank. InvalidBatch when there are none, or too many for a batch."""
    texts = [(number, text) for number, text in enumerate(body.split(b"\n"), start=1) if text.strip()]
    if not texts:
        raise InvalidBatch("The body has no lines.")
    if len(texts) > MAX_JOBS:
        raise InvalidBatch(f"The body has {len(texts)} lines; a batch has at most {MAX_JOBS}.")
    return [_read(number, text) for number, text in texts]


def check_addresses(lines: Sequence[Line], tenant: str, services: Services) -> list[Line]:
    """The lines with what is wrong with their addresses as well. Raises what storage and queue raise when away."""
    with ThreadPoolExecutor(_CHECKED_AT_ONCE, thread_name_prefix="batch") as pool:
        return list(pool.map(lambda line: _check(line, tenant, services), lines))


def errors_in(lines: Sequence[Line]) -> list[FieldError]:
    """All that is wrong, in the order of the lines."""
    return [error for line in lines for error in line.errors]


async def answer_wrong_lines(request: Request, error: Exception) -> JSONResponse:
    """The answer to WrongLines."""
    assert isinstance(error, WrongLines)  # noqa: S101 (Starlette's handlers are typed for any exception)
    return problem_response(request, error.code, error.message, errors=error.errors)


def _read(number: int, text: bytes) -> Line:
    try:
        return Line(number, NewJob.model_validate(parse_strictly(text)))
    except json.JSONDecodeError as error:
        wrong = FieldError(field="body", reason=error.msg, line=number, code=ErrorCode.MALFORMED_JSON)
        return Line(number, None, (wrong,))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        code, errors = understand([{**detail, "loc": ("body", *detail["loc"])} for detail in details])
        return Line(number, None, tuple(wrong.model_copy(update={"line": number, "code": code}) for wrong in errors))


def _check(line: Line, tenant: str, services: Services) -> Line:
    given = addresses_of(line.job) if line.job else ()
    refusals = [_refusal(line.number, field, url, tenant, services) for field, url in given]
    return replace(line, errors=(*line.errors, *filter(None, refusals)))


def _refusal(number: int, field: str, url: str, tenant: str, services: Services) -> FieldError | None:
    try:
        check_address(field, url, tenant, services)
    except HighSyncError as error:
        if error.spec.http_status >= 500:
            raise
        return FieldError(field=field, reason=error.message, line=number, code=error.code)
    return None
