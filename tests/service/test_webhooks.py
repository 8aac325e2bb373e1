"""Webhooks through the API: what to be told, the secret, the log of deliveries, replay."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from structlog.typing import EventDict

from core.batches import BatchEvent
from core.jobs import END_EVENTS, JobId, WebhookEvent, new_job_id
from core.outgoing import FetchPolicy
from core.outgoing.addresses import AllowedTarget
from service.background import make_courier
from service.services import Services
from tests.service.conftest import SECRET, with_changes
from tests.sites import Site

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
HOOK = "https://studio.example.com/hook"


def submit(client: TestClient, **fields: Any) -> JobId:
    answer = client.post("/jobs", json=URLS | fields)
    assert answer.status_code == 202, answer.text
    return JobId(answer.json()["id"])


def told(services: Services, status: int, **fields: Any) -> tuple[TestClient, JobId]:
    """A job whose end was told once, to a receiver that answers with this status; and a client to ask about it."""
    with Site() as site:
        site.pages["/hook"] = lambda visit: visit.reply(status)
        policy = FetchPolicy((AllowedTarget.parse(f"127.0.0.1/32:{site.port}"),))
        client = with_changes(services, policy=policy)
        job_id = submit(client, webhook_url=site.url("/hook?token=hunter2"), **fields)
        client.post(f"/jobs/{job_id}/cancel")
        assert make_courier(client.app.state.services).deliver_due() == 1  # type: ignore[attr-defined]
    return client, job_id


def deliveries(client: TestClient, job_id: str) -> list[dict[str, Any]]:
    answer = client.get("/webhooks/deliveries", params={"job_id": job_id})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


class TestWhatToBeTold:
    def test_the_end_unless_it_says_otherwise(self, client: TestClient, services: Services) -> None:
        assert services.store.get(submit(client, webhook_url=HOOK)).webhook_events == END_EVENTS

    def test_what_it_names(self, client: TestClient, services: Services) -> None:
        job_id = submit(client, webhook_url=HOOK, webhook_events=["job.progress", "job.failed"])
        wanted = services.store.get(job_id).webhook_events
        assert wanted == (WebhookEvent.PROGRESS, WebhookEvent.FAILED)

    @pytest.mark.parametrize(
        "fields",
        [
            {"webhook_events": ["job.created"]},
            {"webhook_url": HOOK, "webhook_events": ["job.finished"]},
            {"webhook_url": HOOK, "webhook_events": "job.created"},
        ],
    )
    def test_anything_else_is_refused(self, client: TestClient, fields: dict[str, Any]) -> None:
        answer = client.post("/jobs", json=URLS | fields)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


class TestSecret:
    def test_a_new_one_is_shown_once_and_signs(self, client: TestClient, services: Services) -> None:
        answer = client.post("/webhooks/secret/rotate")

        assert answer.status_code == 201
        new = answer.json()["secret"]
        valid = [secret.get_secret_value() for secret in services.webhook_secrets.valid("local")]
        assert valid == [new, SECRET]
        assert answer.json()["previous_until"] is not None

    def test_it_is_not_logged(self, client: TestClient, log: list[EventDict]) -> None:
        new = client.post("/webhooks/secret/rotate").json()["secret"]
        assert "webhook_key_rotated" in str(log)
        assert new.removeprefix("whsec_") not in str(log)

    def test_nobody_keeps_the_answer(self, client: TestClient) -> None:
        assert client.post("/webhooks/secret/rotate").headers["Cache-Control"] == "no-store"


class TestDeliveries:
    def test_each_attempt_is_shown_without_body_and_secret(self, services: Services) -> None:
        client, job_id = told(services, 500)

        (delivery,) = deliveries(client, job_id)

        assert set(delivery) == {
            "id", "job_id", "batch_id", "event", "message_id", "attempt", "at", "outcome", "status", "duration_s",
            "next_attempt_at",
        }  # fmt: skip
        assert (delivery["event"], delivery["outcome"], delivery["status"]) == ("job.canceled", "refused", 500)
        assert delivery["next_attempt_at"] > delivery["at"]
        assert "hunter2" not in str(delivery)

    def test_a_job_that_told_nothing_has_none(self, client: TestClient) -> None:
        assert deliveries(client, submit(client)) == []

    @pytest.mark.parametrize(
        ("params", "status", "code"),
        [
            ({"job_id": new_job_id()}, 404, "job_not_found"),
            ({"job_id": "x"}, 422, "invalid_request"),
            ({}, 422, "invalid_request"),
            ({"job_id": new_job_id(), "page": "2"}, 422, "unknown_option"),
        ],
    )
    def test_other_questions_are_refused(
        self, client: TestClient, params: dict[str, str], status: int, code: str
    ) -> None:
        answer = client.get("/webhooks/deliveries", params=params)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


class TestReplay:
    def test_the_same_event_is_sent_again_under_the_same_id(self, services: Services) -> None:
        client, job_id = told(services, 410)
        (before,) = deliveries(client, job_id)

        answer = client.post(f"/webhooks/deliveries/{before['id']}/replay")

        assert answer.status_code == 202
        told_again = {"event": "job.canceled", "message_id": before["message_id"]}
        assert answer.json() == {"job_id": job_id, "batch_id": None} | told_again
        (due,) = services.outbox.take_due(10, 60, 10)
        assert due.message_id == before["message_id"]

    @pytest.mark.parametrize(
        "name", ["nothing", "a.b", "-", new_job_id(), f"{new_job_id()}-0123456789ab", "%00"], ids=range(6)
    )
    def test_an_unknown_delivery_is_not_found(self, client: TestClient, name: str) -> None:
        answer = client.post(f"/webhooks/deliveries/{name}/replay")
        assert (answer.status_code, answer.json()["code"]) == (404, "delivery_not_found")

    def test_one_of_a_purged_job_is_not_found(self, services: Services) -> None:
        client, job_id = told(services, 200)
        (delivery,) = deliveries(client, job_id)
        client.delete(f"/jobs/{job_id}")

        assert client.post(f"/webhooks/deliveries/{delivery['id']}/replay").status_code == 404


def test_the_backlog_is_exported(client: TestClient) -> None:
    client.post(f"/jobs/{submit(client, webhook_url=HOOK)}/cancel")
    text = client.get("/metrics").text
    assert "highsync_webhook_backlog 1.0" in text
    assert "highsync_webhook_oldest_age_seconds 0." in text


def test_the_document_describes_every_event(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    assert set(document["webhooks"]) == {*WebhookEvent, *BatchEvent}
    operation = document["webhooks"]["job.succeeded"]["post"]
    sent = {parameter["name"] for parameter in operation["parameters"]}
    assert sent == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert schema.endswith("/WebhookMessage")


def test_the_shown_secret_is_one_that_settings_would_take(client: TestClient, services: Services) -> None:
    secret = client.post("/webhooks/secret/rotate").json()["secret"]
    changed = services.settings.model_dump() | {"webhook_secret": secret, "secret_key": "x" * 32}
    assert type(services.settings).model_validate(changed).webhook_secret == SecretStr(secret)
