"""Webhooks: signed byte for byte, at least once, and never against the receiver's will. Attack cases 43, 45 and 47."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from core.errors import AddressBlocked, StorageUnavailable
from core.jobs import Job, WebhookEvent
from core.metrics import WEBHOOK_DELIVERY_SECONDS
from core.outgoing import FetchPolicy, PostAnswer, PostFailed
from core.private_urls import PrivateUrls
from core.webhooks import RETRY_AFTER_S, Courier, MemoryWebhookSecrets, Outcome, signed_headers
from tests.core.houses import RESULT, make_job
from tests.core.webhooks.conftest import HOOK, Office
from tests.traces import CALLER, CALLER_TRACE

URLS = PrivateUrls(SecretStr("a key for tests, long enough by far"))
SECRET = SecretStr("whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0")


@dataclass
class Receiver:
    """The other side: gives the answers of a list, then 200, and remembers what came."""

    answers: list[int | PostAnswer | Exception] = field(default_factory=list)
    received: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str], policy: FetchPolicy, /) -> PostAnswer:
        self.received.append((url, body, headers))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, PostAnswer) else PostAnswer(answer, None)


def show(job: Job) -> dict[str, str]:
    return {"id": job.id, "status": job.status, "name": "\u00fcber"}


def timed(outcome: Outcome) -> float:
    """How many attempts of this outcome the metric has seen."""
    samples = (sample for metric in WEBHOOK_DELIVERY_SECONDS.collect() for sample in metric.samples)
    return sum(s.value for s in samples if s.name.endswith("_count") and s.labels["outcome"] == outcome)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def office(memory_office: Office) -> Office:
    return memory_office


@pytest.fixture
def courier(office: Office, receiver: Receiver) -> Courier:
    return Courier(office.store, office.outbox, MemoryWebhookSecrets(SECRET), URLS, FetchPolicy(), show, post=receiver)


class TestMessages:
    def test_a_message_names_the_trace_in_which_its_job_was_submitted(
        self, office: Office, courier: Courier, receiver: Receiver
    ) -> None:
        job = office.job(WebhookEvent.CREATED)
        office.store.create(traced := make_job(webhook_url=HOOK, webhook_events=job.webhook_events, traceparent=CALLER))

        courier.deliver_due()

        sent = {json.loads(body)["data"]["id"]: headers["traceparent"] for _, body, headers in receiver.received}
        assert sent[traced.id].startswith(f"00-{CALLER_TRACE}-")
        assert sent[traced.id] != CALLER
        assert not sent[job.id].startswith(f"00-{CALLER_TRACE}-")

    def test_the_receiver_can_verify_what_it_got(self, office: Office, courier: Courier, receiver: Receiver) -> None:
        job_id = office.canceled_job()

        assert courier.deliver_due() == 1

        ((url, body, headers),) = receiver.received
        event = Webhook(SECRET.get_secret_value()).verify(body, dict(headers))
        assert url == HOOK
        assert (event["type"], event["data"]["id"], event["data"]["name"]) == ("job.canceled", job_id, "\u00fcber")
        assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None

    @pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp", "webhook-signature"])
    def test_anything_changed_on_the_way_is_noticed(
        self, office: Office, courier: Courier, receiver: Receiver, changed: str
    ) -> None:
        office.canceled_job()
        courier.deliver_due()
        _, body, sent = receiver.received[0]
        headers = dict(sent)
        if changed == "body":
            body = body.replace(b"canceled", b"succeeded")
        elif changed == "webhook-timestamp":
            headers[changed] = str(int(headers[changed]) + 1)
        elif changed == "webhook-signature":
            headers[changed] = "v1," + "A" * 43 + "="
        else:
            headers[changed] += "x"

        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET.get_secret_value()).verify(body, headers)

    @pytest.mark.parametrize("minutes", [-6, 6])
    def test_a_message_of_another_time_is_refused(self, minutes: int) -> None:
        other_time = signed_headers("m1", b"{}", datetime.now(UTC) + timedelta(minutes=minutes), [SECRET])

        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET.get_secret_value()).verify(b"{}", other_time)

    def test_message_ids_have_no_dot_which_would_blur_what_is_signed(
        self, office: Office, courier: Courier, receiver: Receiver
    ) -> None:
        lease = office.running_job()
        for fraction in (0.1, 0.2):
            office.report(lease, fraction)
            for _ in range(3):
                courier.deliver_due()
            office.later(courier.progress_pause_s)
        office.store.succeed(lease, RESULT)
        courier.deliver_due()

        ids = [headers["webhook-id"] for _, _, headers in receiver.received]
        assert len(set(ids)) == 5
        assert not any("." in message_id for message_id in ids)

    def test_without_a_secret_messages_are_unsigned(self) -> None:
        assert "webhook-signature" not in signed_headers("m1", b"{}", datetime.now(UTC), [])

    def test_after_a_rotation_receivers_with_either_secret_can_verify(
        self, office: Office, courier: Courier, receiver: Receiver
    ) -> None:
        new = courier.secrets.rotate("local").secret
        office.canceled_job()
        courier.deliver_due()

        _, body, headers = receiver.received[0]
        assert headers["webhook-signature"].count(" ") == 1
        for secret in (SECRET, new):
            assert Webhook(secret.get_secret_value()).verify(body, dict(headers))

    def test_the_body_is_compact_json(self, office: Office, courier: Courier, receiver: Receiver) -> None:
        office.canceled_job()
        courier.deliver_due()
        body = receiver.received[0][1]

        assert body == json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()

    def test_what_comes_late_shows_the_job_as_it_is_now(
        self, office: Office, courier: Courier, receiver: Receiver
    ) -> None:
        receiver.answers = [500]
        lease = office.running_job(WebhookEvent.STARTED)
        courier.deliver_due()
        office.store.succeed(lease, RESULT)
        office.later(RETRY_AFTER_S[0])
        courier.deliver_due()

        first, second = (json.loads(body) for _, body, _ in receiver.received)
        assert (first["type"], first["data"]["status"]) == ("job.started", "running")
        assert (second["type"], second["data"]["status"]) == ("job.started", "succeeded")
        assert first["timestamp"] == second["timestamp"]

    def test_each_tenants_messages_are_signed_with_its_own_secret(
        self, office: Office, courier: Courier, receiver: Receiver
    ) -> None:
        own = courier.secrets.rotate("ada").secret
        for tenant in ("ada", "ben"):
            job = make_job(tenant=tenant, webhook_url=HOOK)
            office.store.create(job)
            office.store.request_cancel(job.id)
            courier.deliver_due()

        (_, first, of_ada), (_, second, of_ben) = receiver.received
        assert Webhook(own.get_secret_value()).verify(first, dict(of_ada))
        assert Webhook(SECRET.get_secret_value()).verify(second, dict(of_ben))
        with pytest.raises(WebhookVerificationError):
            Webhook(own.get_secret_value()).verify(second, dict(of_ben))

    def test_the_query_of_the_address_is_sealed_in_the_record_and_open_on_the_way(
        self, office: Office, courier: Courier, receiver: Receiver
    ) -> None:
        job_id = office.canceled_job(URLS.seal(f"{HOOK}?token=hunter2"))
        courier.deliver_due()

        assert receiver.received[0][0] == f"{HOOK}?token=hunter2"
        assert "hunter2" not in repr(office.store.get(job_id))


class TestDelivery:
    @pytest.mark.parametrize("failure", [500, 404, 302, PostFailed("timed out"), StorageUnavailable("away")])
    def test_a_failed_delivery_is_repeated_with_the_same_id_and_then_settled(
        self, office: Office, courier: Courier, receiver: Receiver, failure: int | Exception
    ) -> None:
        office.canceled_job()
        receiver.answers = [failure, failure]

        for pause_s in (0, *RETRY_AFTER_S):
            office.later(pause_s)
            courier.deliver_due()

        assert len(receiver.received) == 3
        assert len({headers["webhook-id"] for _, _, headers in receiver.received}) == 1

    def test_it_waits_as_the_schedule_says(self, office: Office, courier: Courier, receiver: Receiver) -> None:
        office.canceled_job()
        receiver.answers = [500] * 20
        courier.deliver_due()

        for attempts, pause_s in enumerate(RETRY_AFTER_S, start=1):
            office.later(pause_s - 1)
            courier.deliver_due()
            assert len(receiver.received) == attempts
            office.later(1)
            courier.deliver_due()
            assert len(receiver.received) == attempts + 1

        office.later(10**7)
        assert courier.deliver_due() == 0

    def test_a_wish_for_a_longer_pause_is_granted(self, office: Office, courier: Courier, receiver: Receiver) -> None:
        office.canceled_job()
        receiver.answers = [PostAnswer(429, 1000.0)]
        courier.deliver_due()

        office.later(999)
        assert courier.deliver_due() == 0
        office.later(1)
        assert courier.deliver_due() == 1

    def test_but_not_for_ever(self, office: Office, courier: Courier, receiver: Receiver) -> None:
        office.canceled_job()
        receiver.answers = [PostAnswer(429, 10.0**8)]
        courier.deliver_due()

        office.later(86_400)
        assert courier.deliver_due() == 1

    @pytest.mark.parametrize("end", [410, AddressBlocked("studio.example.com leads to a private address.")])
    def test_gone_and_blocked_receivers_are_left_alone(
        self, office: Office, courier: Courier, receiver: Receiver, end: int | Exception
    ) -> None:
        office.canceled_job()
        receiver.answers = [end]
        courier.deliver_due()

        office.later(10**7)
        assert courier.deliver_due() == 0

    def test_a_purged_job_is_not_told_any_more(self, office: Office, courier: Courier, receiver: Receiver) -> None:
        office.store.delete(office.canceled_job())
        courier.deliver_due()

        assert receiver.received == []

    def test_one_silent_receiver_does_not_hold_up_the_others(
        self, office: Office, courier: Courier, receiver: Receiver
    ) -> None:
        for _ in range(8):
            office.canceled_job()
        receiver.answers = [PostFailed("timed out")] * 4

        assert courier.deliver_due() == 8
        assert len(receiver.received) == 8

    @pytest.mark.parametrize(
        ("answer", "outcome", "status"),
        [
            (204, Outcome.DELIVERED, 204),
            (302, Outcome.REFUSED, 302),
            (410, Outcome.GONE, 410),
            (PostFailed("timed out"), Outcome.UNREACHABLE, None),
            (AddressBlocked("private"), Outcome.BLOCKED, None),
            (StorageUnavailable("away"), Outcome.POSTPONED, None),
        ],
    )
    def test_each_attempt_is_logged_and_counted(
        self,
        office: Office,
        courier: Courier,
        receiver: Receiver,
        answer: int | Exception,
        outcome: Outcome,
        status: int | None,
    ) -> None:
        job_id = office.canceled_job()
        receiver.answers = [answer]
        before = timed(outcome)

        courier.deliver_due()

        (delivery,) = office.outbox.deliveries(job_id)
        assert (delivery.outcome, delivery.status, delivery.attempt) == (outcome, status, 1)
        assert timed(outcome) == before + 1
