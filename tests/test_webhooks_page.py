"""docs/webhooks.md: its receiver runs and verifies real messages, and what it says of events and pauses is so."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from client import HighSync
from core.api_keys import KeyLimits, Keyring, Scope
from core.batches import BatchEvent
from core.job_store import MemoryJobStore
from core.jobs import LOCAL_TENANT, WEBHOOK_EVENTS_IN_ORDER, JobId, WebhookEvent
from core.outgoing import FetchPolicy, post_json
from core.outgoing.addresses import AllowedTarget
from core.private_urls import PrivateUrls
from core.webhooks import (
    RETRY_AFTER_S,
    Courier,
    MemoryOutbox,
    MemoryWebhookSecrets,
    Outcome,
    signed_headers,
)
from tests.client.conftest import VIDEO, VOICE, served
from tests.core.houses import make_job
from tests.pages import ROOT, blocks, need_curl_and_jq, read_page, run_shell
from tests.servers import free_port, wait_until
from tests.service.conftest import make_settings

PAGE = read_page("docs/webhooks.md")
SECRET = SecretStr("whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0")


class PageReceiver:
    """The page's own receiver, running. `printed` is what it has to say."""

    def __init__(self, folder: Path) -> None:
        (program,) = blocks(PAGE, "python")
        (folder / "receiver.py").write_text(program, encoding="utf-8")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._out = folder / "printed"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(folder / "receiver.py"), str(self.port)],
                env=os.environ | {"WEBHOOK_SECRET": SECRET.get_secret_value()},
                stdout=out,
                stderr=subprocess.DEVNULL,
            )
        wait_until(self._answers, what="the receiver of the page")

    def _answers(self) -> bool:
        try:
            return self.post({}, b"").status_code == 400
        except httpx.TransportError:
            return False

    def post(self, headers: dict[str, str], body: bytes) -> httpx.Response:
        return httpx.post(self.url, headers=headers, content=body, trust_env=False)

    @property
    def printed(self) -> list[str]:
        return self._out.read_text().splitlines()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[PageReceiver]:
    receiver = PageReceiver(tmp_path)
    yield receiver
    receiver.process.kill()
    receiver.process.wait()


def house_for(receiver: PageReceiver) -> tuple[MemoryJobStore, MemoryOutbox, Courier]:
    store = MemoryJobStore()
    outbox = MemoryOutbox(store)
    policy = FetchPolicy((AllowedTarget.parse(f"127.0.0.1/32:{receiver.port}"),))
    urls = PrivateUrls(SecretStr("a key for tests, long enough by far"))
    secrets = MemoryWebhookSecrets(SECRET)
    return store, outbox, Courier(store, outbox, secrets, urls, policy, lambda subject: {"id": subject.id})


def canceled_job(store: MemoryJobStore, receiver: PageReceiver) -> JobId:
    events = (WebhookEvent.CREATED, WebhookEvent.CANCELED)
    job = make_job(webhook_url=receiver.url, webhook_events=events)
    store.create(job)
    store.request_cancel(job.id)
    return job.id


def test_its_receiver_takes_each_event_once_and_in_order(receiver: PageReceiver) -> None:
    # Given a job of which two events are to be told
    store, outbox, courier = house_for(receiver)
    job_id = canceled_job(store, receiver)

    # When they are delivered, one of them is replayed, and the secret has changed meanwhile
    while courier.deliver_due():
        pass
    courier.secrets.rotate("local")
    outbox.replay(outbox.deliveries(job_id)[0])
    courier.deliver_due()

    # Then the receiver has verified them all, and taken each for what it is
    assert [delivery.outcome for delivery in outbox.deliveries(job_id)] == [Outcome.DELIVERED] * 3
    assert receiver.printed == [f"job.created {job_id}", f"job.canceled {job_id}"]


def test_its_receiver_refuses_what_is_forged_changed_or_old(receiver: PageReceiver) -> None:
    body = json.dumps({"type": "job.succeeded", "data": {"id": "j1"}}).encode()
    now = datetime.now(UTC)
    stranger = SecretStr("whsec_" + "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXI=")
    good = signed_headers("j1-succeeded", body, now, [SECRET])

    assert receiver.post(signed_headers("j1-succeeded", body, now, [stranger]), body).status_code == 400
    assert receiver.post(good, body.replace(b"j1", b"j2")).status_code == 400
    assert receiver.post(good | {"webhook-id": "j1-failed"}, body).status_code == 400
    for minutes in (-6, 6):
        then = datetime.fromtimestamp(now.timestamp() + 60 * minutes, UTC)
        assert receiver.post(signed_headers("j1-succeeded", body, then, [SECRET]), body).status_code == 400
    assert receiver.printed == []
    assert receiver.post(good, body).status_code == 204


def test_its_commands_run(receiver: PageReceiver, tmp_path: Path) -> None:
    need_curl_and_jq()
    opened = make_settings(tmp_path).model_copy(update={"fetch_allow": f"127.0.0.1/32:{receiver.port}"})
    with served(opened, tmp_path) as service:
        # Given a key, and a job whose end was told
        house = service.services
        _, key = Keyring(house.keys, house.store).create(LOCAL_TENANT, Scope, KeyLimits())
        with HighSync(service.url, key.get_secret_value()) as highsync:
            job_id = highsync.submit(VIDEO, VOICE, webhook_url=receiver.url).id
            highsync.cancel(job_id)
        urls = PrivateUrls(house.settings.secret_key)
        courier = Courier(
            house.store, house.outbox, house.webhook_secrets, urls, house.policy, lambda about: {"id": about.id}
        )
        assert courier.deliver_due()
        (delivery,) = house.outbox.deliveries(JobId(job_id))

        # When the page's commands are typed
        facts = {"KEY": key.get_secret_value(), "JOB": job_id, "DELIVERY": delivery.id}
        commands = blocks(PAGE, "bash")
        answers = [json.loads(run_shell(tmp_path, service, command, **facts)) for command in commands]

    # Then they answer as it shows: the log, the event that is sent again, a new secret
    logged, replayed, rotated = answers
    (shown, shown_secret) = (json.loads(text) for text in blocks(PAGE, "json")[1:])
    assert [entry["id"] for entry in logged["deliveries"]] == [delivery.id]
    assert logged["deliveries"][0].keys() == shown["deliveries"][0].keys()
    assert replayed["message_id"] == delivery.message_id
    assert rotated.keys() == shown_secret.keys()


def test_it_names_every_event_and_outcome() -> None:
    assert set(re.findall(r"`((?:job|batch)\.\w+)`", PAGE)) == {*WEBHOOK_EVENTS_IN_ORDER, *BatchEvent}
    assert set(re.findall(r"\| `(\w+)` \|", PAGE)) == set(Outcome)


def test_its_pauses_are_those_of_the_courier() -> None:
    unit_s = {"s": 1, "min": 60, "h": 3600}
    (sentence,) = re.findall(r"again after (.*?): ten attempts in three days", PAGE)
    pauses = [int(number) * unit_s[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", sentence)]
    assert tuple(pauses) == RETRY_AFTER_S
    assert len(pauses) + 1 == 10
    assert sum(pauses) < 4 * 86_400
    assert post_json.__defaults__ == (15.0,)
    assert "after 15 s without an answer" in PAGE


def test_the_paths_it_names_are_there() -> None:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    named = re.findall(r"`(GET|POST) (/[\w/{}]+)(?:\?\w+=)?`", PAGE)
    assert named
    for method, path in named:
        names = [
            re.sub(r"{\w+}", "{}", known) for known, methods in document["paths"].items() if method.lower() in methods
        ]
        assert re.sub(r"{\w+}", "{}", path) in names, path
