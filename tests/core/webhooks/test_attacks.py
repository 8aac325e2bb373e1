"""Receivers that misbehave, on real sockets. Attack cases 43 to 47."""

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from core.job_store import RedisJobStore
from core.jobs import WebhookEvent, new_job_id
from core.outgoing import FetchPolicy, post_json
from core.outgoing.addresses import AllowedTarget
from core.private_urls import PrivateUrls
from core.redis_client import connect
from core.webhooks import Courier, Delivery, DueDelivery, MemoryWebhookSecrets, Outcome, RedisOutbox
from tests.core.webhooks.conftest import Office
from tests.servers import wait_until
from tests.sites import Site, Visit

SECRET = SecretStr("whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0")
KEY = "a key for tests, long enough by far"
PATIENCE_S = 0.3
ROOT = Path(__file__).parents[3]


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


def open_to(site: Site) -> FetchPolicy:
    return FetchPolicy(allow=(AllowedTarget.parse(f"127.0.0.1/32:{site.port}"),))


def courier(office: Office, policy: FetchPolicy) -> Courier:
    def impatient(url: str, body: bytes, headers: object, policy: FetchPolicy, /) -> object:
        return post_json(url, body, headers, policy, timeout_s=PATIENCE_S)  # type: ignore[arg-type]

    return Courier(
        office.store,
        office.outbox,
        MemoryWebhookSecrets(SECRET),
        PrivateUrls(SecretStr(KEY)),
        policy,
        lambda job: {"id": job.id, "name": "\u00fc\u2028"},
        post=impatient,  # type: ignore[arg-type]
    )


def attempt(office: Office, site: Site, policy: FetchPolicy | None = None) -> Delivery:
    """Tell the site of a job's end, once."""
    job_id = office.canceled_job(site.url("/hook"))
    assert courier(office, policy or open_to(site)).deliver_due() == 1
    return office.outbox.deliveries(job_id)[0]


@pytest.fixture
def office(memory_office: Office) -> Office:
    return memory_office


def test_43_the_bytes_that_arrive_are_the_bytes_that_were_signed(office: Office, site: Site) -> None:
    site.pages["/hook"] = lambda visit: visit.reply(200)

    assert attempt(office, site).outcome is Outcome.DELIVERED

    _, _, headers, body = site.visits[0]
    webhook = Webhook(SECRET.get_secret_value())
    assert webhook.verify(body, headers)["data"]["name"] == "\u00fc\u2028"
    with pytest.raises(WebhookVerificationError):
        webhook.verify(body + b" ", headers)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_44_a_redirect_is_not_followed_but_tried_again(office: Office, site: Site, status: int) -> None:
    site.pages["/hook"] = lambda visit: visit.reply(status, Location=site.url("/elsewhere"))
    site.pages["/elsewhere"] = lambda visit: visit.reply(200)

    delivery = attempt(office, site)

    assert (delivery.outcome, delivery.status) == (Outcome.REFUSED, status)
    assert delivery.next_attempt_at is not None
    assert [path for _, path, _, _ in site.visits] == ["/hook"]


def test_44_gone_is_final(office: Office, site: Site) -> None:
    site.pages["/hook"] = lambda visit: visit.reply(410)

    delivery = attempt(office, site)

    assert (delivery.outcome, delivery.next_attempt_at) == (Outcome.GONE, None)
    office.later(10**7)
    assert courier(office, open_to(site)).deliver_due() == 0


def test_44_a_wish_for_a_pause_is_granted(office: Office, site: Site) -> None:
    site.pages["/hook"] = lambda visit: visit.reply(429, Retry_After="1000")

    delivery = attempt(office, site)

    assert delivery.next_attempt_at is not None
    assert (delivery.next_attempt_at - delivery.at).total_seconds() == 1000
    office.later(999)
    assert courier(office, open_to(site)).deliver_due() == 0
    office.later(2)
    assert courier(office, open_to(site)).deliver_due() == 1


@pytest.mark.parametrize("says", ["nothing", "a byte now and then"])
def test_44_a_receiver_that_hangs_is_cut_off(office: Office, site: Site, says: str) -> None:
    def hang(visit: Visit) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Very: slow" * 10:
            time.sleep(0.05)
            if says != "nothing":
                visit.wfile.write(bytes([byte]))

    site.pages["/hook"] = hang
    started = time.monotonic()

    assert attempt(office, site).outcome is Outcome.UNREACHABLE
    assert time.monotonic() - started < PATIENCE_S + 5


def test_44_nobody_has_to_wait_thirty_seconds() -> None:
    assert inspect.signature(post_json).parameters["timeout_s"].default < 30


def test_44_a_huge_reply_is_not_read(office: Office, site: Site) -> None:
    sent = [0]
    finished = []

    def flood(visit: Visit) -> None:
        visit.start({"Content-Length": str(256 * 2**20)})
        try:
            for _ in range(256):
                visit.wfile.write(b"x" * 2**20)
                sent[0] += 1
        except OSError:
            finished.append(True)

    site.pages["/hook"] = flood

    assert attempt(office, site).outcome is Outcome.DELIVERED
    wait_until(lambda: bool(finished), what="the flood meets a closed connection")
    assert sent[0] < 64  # MiB: what the buffers of two sockets may take


def test_45_message_ids_have_no_dot_because_it_would_move_what_is_signed() -> None:
    """`id.timestamp.body` is signed. Given an id with a dot, another cut of the same text has the same signature."""
    webhook = Webhook(SECRET.get_secret_value())
    now = datetime.now(UTC)
    seconds = int(now.timestamp())
    signature = webhook.sign(f"a.{seconds}", now, "5")
    forged = {"webhook-id": "a", "webhook-timestamp": str(seconds), "webhook-signature": signature}
    assert webhook.verify(f"{seconds}.5", forged) == float(f"{seconds}.5")

    for event in WebhookEvent:
        for number in (1, 2, 10**6):
            assert "." not in DueDelivery(new_job_id(), event, number, now, 1).message_id


def test_46_a_private_receiver_is_blocked_unless_the_operator_allows_it(office: Office, site: Site) -> None:
    site.pages["/hook"] = lambda visit: visit.reply(200)

    assert attempt(office, site, FetchPolicy()).outcome is Outcome.BLOCKED
    assert site.visits == []
    assert attempt(office, site).outcome is Outcome.DELIVERED


DELIVER_FOREVER = """
import sys
from pydantic import SecretStr
from core.job_store import RedisJobStore
from core.outgoing import FetchPolicy
from core.outgoing.addresses import AllowedTarget
from core.private_urls import PrivateUrls
from core.webhooks import Courier, MemoryWebhookSecrets, RedisOutbox

url, port, key = sys.argv[1:]
urls = PrivateUrls(SecretStr(key))
policy = FetchPolicy(allow=(AllowedTarget.parse(f"127.0.0.1/32:{port}"),))
store, outbox = RedisJobStore.connect(url), RedisOutbox.connect(url)
while True:
    Courier(store, outbox, MemoryWebhookSecrets(), urls, policy, lambda job: {"id": job.id}).deliver_due()
"""


def test_47_a_delivery_survives_the_death_of_its_process_under_the_same_id(redis_url: str, site: Site) -> None:
    # Given a process that is killed while its receiver thinks about the message
    redis = connect(redis_url)
    office = Office(RedisJobStore(redis), RedisOutbox(redis), lambda _: None)
    job_id = office.canceled_job(site.url("/hook"))
    site.pages["/hook"] = lambda visit: time.sleep(5)
    command = [sys.executable, "-c", DELIVER_FOREVER, redis_url, str(site.port), KEY]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        wait_until(lambda: bool(site.visits), 60, what="the first attempt")
        process.kill()

    # When another process looks for what is due, once the first one's time is over
    site.pages["/hook"] = lambda visit: visit.reply(200)
    redis.zadd("highsync:webhooks:due", {f"{job_id}:canceled": 0.0}, xx=True)
    assert courier(office, open_to(site)).deliver_due() == 1

    # Then the receiver knows the message again
    first, second = (headers["webhook-id"] for _, _, headers, _ in site.visits)
    assert first == second == f"{job_id}-canceled"
    assert [delivery.attempt for delivery in office.outbox.deliveries(job_id)] == [2]
