"""A request is a step of its caller's trace, and its job remembers it."""

import pytest
from fastapi.testclient import TestClient

from core.jobs import JobId
from core.spans import TraceContext
from service.services import Services
from tests.traces import CALLER, CALLER_SPAN, CALLER_TRACE, spans_kept

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}


def test_a_job_is_submitted_within_its_callers_trace(client: TestClient, services: Services) -> None:
    with spans_kept() as kept:
        job_id = client.post("/jobs", json=URLS, headers={"traceparent": CALLER}).json()["id"]
        client.get(f"/jobs/{job_id}")
        client.get("/livez")

        assert kept.names == ["enqueue", "POST /jobs", "GET /jobs/{job_id}"]
        assert kept.parent_of("POST /jobs") == CALLER_SPAN
        assert kept.parent_of("enqueue") == kept.id_of("POST /jobs")
        assert kept.named("POST /jobs").attributes == {
            "http.request.method": "POST",
            "http.response.status_code": 202,
        }
        job = services.store.get(JobId(job_id))
        assert job.traceparent == f"00-{CALLER_TRACE}-{kept.id_of('POST /jobs')}-01"


@pytest.mark.parametrize("header", [{}, {"traceparent": "nonsense"}])
def test_without_a_collector_and_without_a_caller_a_job_has_a_trace(
    client: TestClient, services: Services, header: dict[str, str]
) -> None:
    traces = []
    for _ in range(2):
        job = services.store.get(JobId(client.post("/jobs", json=URLS, headers=header).json()["id"]))
        trace = TraceContext.parse(job.traceparent or "")
        assert trace is not None
        traces.append(trace.trace_id)
    assert traces[0] != traces[1]


def test_a_path_that_is_no_route_gives_no_name(client: TestClient) -> None:
    with spans_kept() as kept:
        client.get("/nothing/here")
        assert kept.names == ["GET unknown"]
