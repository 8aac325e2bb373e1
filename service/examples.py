"""
Examples for the OpenAPI document. Each follows from its schema, so none goes out of date.

What a type does not tell is in EXAMPLES: fields by the name of their schema. All other fields take their own example,
their default, or the simplest value of their type.
"""

from collections.abc import Mapping
from typing import Any

from service.jobs.schemas import EXAMPLE_ID

_SITE = "https://dub.example.com"
_JOB = f"{_SITE}/jobs/{EXAMPLE_ID}"
_UPLOAD = "9d0c3f6f1b0e4b0f9a8d7c6b5a493827"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "AcceptedJob": {"status": "queued"},
    "JobLinks": {"self": _JOB, "cancel": f"{_JOB}/cancel", "events": f"{_JOB}/events"},
    "JobView": {
        "status": "running",
        "started_at": "2026-11-25T09:30:05Z",
        "video_url": "https://media.example.com/scene-12.mp4",
        "audio_url": "https://media.example.com/scene-12.de.wav",
        "metadata": {"project": "pilot", "scene": 12},
        "timings": {},
        "progress": {"stage": "denoise", "fraction": 0.42, "frames_done": 210, "frames_total": 500, "eta_s": 95.0},
        "eta_s": 95.0,
    },
    "AttemptRecord": {"number": 1, "worker": "gpu-1:4711", "started_at": "2026-11-25T09:30:05Z"},
    "ErrorEntry": {
        "code": "no_face_found",
        "http_status": 422,
        "title": "No face found",
        "hint": "Send a clip with one visible face at least 64 px high.",
    },
    "UploadLinks": {"self": f"{_SITE}/uploads/{_UPLOAD}", "complete": f"{_SITE}/uploads/{_UPLOAD}/complete"},
    "UploadView": {"state": "ready", "bytes": 48210934, "max_bytes": 48210934, "sha256": _SHA256},
    "UploadTicket": {
        "state": "waiting",
        "max_bytes": 48210934,
        "url": f"{_SITE}/files/uploads/{_UPLOAD}?expires=1795602600&signature=…",
        "parts": [],
        "headers": {"Content-Type": "video/mp4"},
    },
    "DeliveryView": {"event": "job.succeeded", "attempt": 1, "outcome": "delivered", "status": 204, "duration_s": 0.12},
    "ReplayView": {"job_id": EXAMPLE_ID, "event": "job.succeeded", "message_id": f"{EXAMPLE_ID}-succeeded"},
    "Readiness": {"ready": True, "redis": True, "storage": True, "workers": 1},
}

_SIMPLEST: Mapping[str, Any] = {
    "date-time": "2026-11-25T09:30:00Z",
    "string": "…",
    "integer": 1,
    "number": 1.0,
    "boolean": False,
    "array": [],
    "object": {},
    "null": None,
}
"""By format, or else by type."""


def add_examples(document: dict[str, Any]) -> None:
    """Give every JSON body of every operation, sent or received, an example unless it has one."""
    schemas = document["components"]["schemas"]
    for methods in document["paths"].values():
        for operation in methods.values():
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                content = body.get("content", {}).get("application/json")
                if content is not None and not {"example", "examples"} & content.keys():
                    content["example"] = example_of(content["schema"], schemas)


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """A value that fits a schema. `schemas` are those it may refer to, by name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _example_of_model(schemas[name], EXAMPLES.get(name, {}), schemas)
    for word in ("examples", "enum"):
        if word in schema:
            return schema[word][0]
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return None if {"type": "null"} in choices else example_of(choices[0], schemas)
    if "items" in schema:
        return [example_of(schema["items"], schemas)]
    return _SIMPLEST.get(schema.get("format", schema.get("type", "null")))


def _example_of_model(model: Mapping[str, Any], known: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    if "properties" not in model or "examples" in model:
        return example_of(model, schemas)
    return {
        name: known[name] if name in known else example_of(field, schemas)
        for name, field in model["properties"].items()
    }
