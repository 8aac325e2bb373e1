"""The OpenAPI document: what FastAPI makes of the routes, and what it cannot know."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from core.errors import ErrorCode
from service.errors import PROBLEM_TYPE, Problem, problems
from service.examples import add_examples
from service.jobs.schemas import JobEventView

_HEADERS = {
    "WWW-Authenticate": {"description": "What is wrong with the key (RFC 6750).", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds until it is worth asking again.", "schema": {"type": "integer"}},
}
DESCRIPTION = """
Self-hosted dubbing: post a video and a new voice, get the same video with lips that follow the new voice.

Errors are `application/problem+json` (RFC 9457) with a stable `code`; `GET /errors` lists them all.
"""


def describe(app: FastAPI) -> None:
    """Let the app describe itself, with the one shape that all its errors have."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _make(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema


def _make(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        webhooks=app.webhooks.routes,
    )
    schemas = schema["components"]["schemas"]
    for model in (Problem, JobEventView):  # FastAPI sees neither: one answers for others, one is in a stream
        described = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        schemas |= described.pop("$defs")
        schemas[model.__name__] = described
    for methods in schema["paths"].values():
        for operation in methods.values():
            if "security" in operation:
                _add_refusals(operation["responses"])
    add_examples(schema)
    return schema


def _add_refusals(responses: dict[str, Any]) -> None:
    """Whoever asks for a key may refuse it, or its haste."""
    refusals = problems(
        ErrorCode.MISSING_API_KEY,
        ErrorCode.INVALID_API_KEY,
        ErrorCode.SCOPE_MISSING,
        ErrorCode.FOREIGN_PAGE,
        ErrorCode.RATE_LIMITED,
    )
    for status, name in ((401, "WWW-Authenticate"), (403, "WWW-Authenticate"), (429, "Retry-After")):
        refusal = refusals[status] | {"headers": {name: _HEADERS[name]}}
        if others := responses.get(str(status)):
            refusal["description"] = f"{others['description']} · {refusal['description']}"
            refusal["content"][PROBLEM_TYPE]["examples"] |= others["content"][PROBLEM_TYPE]["examples"]
        responses[str(status)] = refusal
