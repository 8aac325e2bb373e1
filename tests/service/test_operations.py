"""Probes, metrics, the error catalogue, the docs, and what happens in the background."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import NoReturn

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from standardwebhooks import Webhook
from structlog.typing import EventDict

from core.errors import CATALOGUE, QueueUnavailable, StorageUnavailable
from core.job_store import MemoryJobStore
from core.jobs import Job, JobId, JobStatus, new_job_id
from core.outgoing import FetchPolicy
from core.outgoing.addresses import AllowedTarget
from core.queue import MemoryJobQueue
from core.storage import LocalStorage
from core.worker_presence import MemoryWorkerPresence
from service.app import create_app
from service.background import Periodic
from service.docs import SNAPSHOT, document
from service.services import Services
from tests.servers import wait_until
from tests.service.conftest import SECRET, with_changes
from tests.sites import Site

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}


class TestProbes:
    def test_alive_is_alive_whatever_else_is_down(self, services: Services) -> None:
        assert with_changes(services, store=Away()).get("/livez").status_code == 200

    def test_ready_needs_a_worker(self, client: TestClient, services: Services) -> None:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")

        services.workers.announce("worker-1")

        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            200,
            {"ready": True, "redis": True, "storage": True, "workers": 1},
        )

    def test_not_ready_without_redis_or_storage_and_says_no_more(self, services: Services) -> None:
        services.workers.announce("worker-1")
        gone = GoneStorage(services.storage)

        for client, part in [
            (with_changes(services, store=Away()), "redis"),
            (with_changes(services, storage=gone), "storage"),
        ]:
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()[part] is False
            assert "secret-host" not in answer.text

    def test_a_check_that_hangs_is_asked_once_and_not_waited_for(
        self, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("service.health._PATIENCE_S", 0.1)
        hanging = Hanging()
        client = with_changes(services, workers=hanging)

        for _ in range(3):
            assert client.get("/readyz").json()["workers"] == 0

        assert hanging.asked == 1


class Away(MemoryJobStore):
    def ping(self) -> NoReturn:
        raise QueueUnavailable("Redis: secret-host does not answer")


class GoneStorage(LocalStorage):
    def __init__(self, other: object) -> None:
        """Whatever the other one was, it is gone."""

    def check(self) -> NoReturn:
        raise StorageUnavailable("S3: secret-host does not answer")


class Hanging(MemoryWorkerPresence):
    asked = 0

    def count(self) -> int:
        self.asked += 1
        time.sleep(1.0)
        return 1


def requests_counted(client: TestClient) -> Counter[tuple[str, str, str]]:
    """(route, method, status) → how many requests were answered so far, in all tests of this process."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families if family.name == "http_requests" for sample in family.samples]
    return Counter(
        {
            (sample.labels["handler"], sample.labels["method"], sample.labels["status"]): int(sample.value)
            for sample in samples
            if sample.name == "http_requests_total"
        }
    )


class TestMetrics:
    def test_requests_are_counted_by_route_and_strangers_together(self, client: TestClient) -> None:
        before = requests_counted(client)
        for path in ["/jobs/" + "0" * 36, "/jobs/" + "1" * 36, "/a/b/c", "/d/e/f?g=h", "/livez"]:
            client.get(path)

        assert requests_counted(client) - before == {("/jobs/{job_id}", "GET", "4xx"): 2, ("none", "GET", "4xx"): 2}

    def test_requests_are_timed_but_not_what_lasts_as_long_as_a_job(self, client: TestClient) -> None:
        job_id = client.post("/jobs", json=URLS).json()["id"]
        client.post(f"/jobs/{job_id}/cancel")
        assert client.get(f"/jobs/{job_id}/events").status_code == 200

        timed = client.get("/metrics").text
        assert 'http_request_duration_seconds_count{handler="/jobs",method="POST"}' in timed
        assert 'http_request_duration_seconds_count{handler="/jobs/{job_id}/events"' not in timed

    def test_methods_that_nobody_knows_are_one_label(self, client: TestClient) -> None:
        """Whatever the server in front of the app lets through."""
        before = requests_counted(client)
        for method in ("BREW", "x" * 5000, "G\u00cbT", "M-SEARCH"):
            assert client.request(method, "/jobs").status_code == 405

        assert requests_counted(client) - before == {("/jobs", "other", "4xx"): 4}
        assert "BREW" not in client.get("/metrics").text

    def test_the_queue_is_told(self, client: TestClient) -> None:
        client.post("/jobs", json=URLS)

        text = client.get("/metrics").text
        assert "highsync_queue_depth 1.0" in text
        assert 'highsync_jobs{state="queued"} 1.0' in text


class TestDocs:
    def test_the_snapshot_is_current(self) -> None:
        assert SNAPSHOT.read_text(encoding="utf-8") == document(), "run: python -m service.docs"

    def test_the_docs_need_nobody_else(self, client: TestClient) -> None:
        page = client.get("/docs").text

        assert "https://" not in page
        for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
            assert f"/docs/static/{asset}" in page
            assert client.get(f"/docs/static/{asset}").status_code == 200

    def test_the_catalogue_is_complete(self, client: TestClient) -> None:
        assert {entry["code"] for entry in client.get("/errors").json()["errors"]} == set(CATALOGUE)


class TestLogs:
    def test_a_request_is_one_line_without_its_query(self, client: TestClient, log: list[EventDict]) -> None:
        client.get("/jobs?status=hunter2", headers={"X-Request-ID": "r1"})

        (line,) = [event for event in log if event["event"] == "request"]
        assert (line["method"], line["path"], line["status"]) == ("GET", "/jobs", 422)
        assert "hunter2" not in str(log)


class TestBackground:
    def test_a_job_without_a_message_is_announced(self, services: Services) -> None:
        clock = time.time() - 3600
        store = MemoryJobStore(clock=lambda: clock)
        job = Job(id=new_job_id(), created_at=datetime.now(UTC), **URLS)
        store.create(job)
        clock += 3600

        with with_changes(services, store=store):
            queue = services.queue
            assert isinstance(queue, MemoryJobQueue)
            wait_until(lambda: queue.waiting() > 0, 5)

        assert queue.take() == job.id

    def test_the_end_of_a_job_is_told_to_its_webhook(self, services: Services) -> None:
        with Site() as site:
            site.pages["/hook"] = lambda visit: visit.reply(204)
            policy = FetchPolicy((AllowedTarget.parse(f"127.0.0.1/32:{site.port}"),))
            with with_changes(services, policy=policy) as client:
                job_id = client.post("/jobs", json=URLS | {"webhook_url": site.url("/hook")}).json()["id"]
                view = client.delete(f"/jobs/{job_id}").json()
                wait_until(lambda: bool(site.visits), 5)

        _, _, headers, body = site.visits[0]
        event = Webhook(SECRET).verify(body, headers)
        assert event["type"] == "job.canceled"
        assert event["data"] == view

    def test_a_fault_does_not_end_it(self, log: list[EventDict]) -> None:
        rounds: list[int] = []

        def faulty() -> None:
            rounds.append(1)
            raise (QueueUnavailable("away"), ZeroDivisionError())[len(rounds) % 2]

        periodic = Periodic("faulty", faulty, 0.001)
        periodic.start()
        wait_until(lambda: len(rounds) >= 4, 5)
        periodic.stop()

        assert {event["event"] for event in log} == {"background_round_failed", "background_round_broken"}

    def test_stopping_ends_the_threads(self, app: FastAPI, services: Services) -> None:
        with TestClient(app):
            pass
        job_id = JobId("0" * 36)
        services.store.create(Job(id=job_id, created_at=datetime.now(UTC), webhook_url="http://127.0.0.1/", **URLS))
        services.store.request_cancel(job_id)
        time.sleep(0.2)

        assert services.store.get(job_id).status is JobStatus.CANCELED
        assert [due.about for due in services.outbox.take_due(10, 1, 1)] == [job_id]


def test_an_app_starts_from_settings_alone_and_connects_to_nothing(services: Services) -> None:
    assert TestClient(create_app(services.settings)).get("/livez").status_code == 200
