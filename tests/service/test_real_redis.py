"""The API over a real Redis: what it promised is kept across restarts."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from core.api_keys import KeyLimits, Keyring, RedisKeyStore, Scope
from core.job_store import RedisJobStore
from core.jobs import JobStatus
from core.queue import QUEUE_NAME
from core.settings import Settings
from service.app import create_app
from tests.servers import RedisServer, wait_until
from tests.service.conftest import SECRET
from tests.sites import Site

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}

pytestmark = pytest.mark.e2e


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def settings(redis_server: RedisServer, site: Site, tmp_path: Path) -> Settings:
    return Settings(
        allow_unauthenticated=True,
        secret_key="a key for tests, long enough by far",
        redis_url=redis_server.url,
        storage_url=(tmp_path / "storage").as_uri(),
        fetch_allow=f"127.0.0.1/32:{site.port}",
        fetch_deny="",
        webhook_secret=SECRET,
        reconcile_interval_s=0.1,
    )


def api(settings: Settings) -> TestClient:
    """A new API process, as far as its state is concerned."""
    return TestClient(create_app(settings))


def test_an_accepted_job_outlives_everything(settings: Settings, redis_server: RedisServer) -> None:
    with api(settings) as client:
        accepted = client.post("/jobs", json=URLS | {"metadata": {"scene": 12}})
        assert accepted.status_code == 202
    redis_server.kill()
    redis_server.start()

    with api(settings) as client:
        job = client.get(f"/jobs/{accepted.json()['id']}").json()

    assert (job["status"], job["metadata"]) == ("queued", {"scene": 12})
    assert Redis.from_url(settings.redis_url).llen(QUEUE_NAME) == 1


def test_a_message_that_was_lost_is_sent_again(settings: Settings) -> None:
    redis = Redis.from_url(settings.redis_url)
    with api(settings) as client:
        client.post("/jobs", json=URLS)
        redis.delete(QUEUE_NAME)
        redis.zadd("highsync:announced", dict.fromkeys(redis.zrange("highsync:announced", 0, -1), 0.0))

        wait_until(lambda: redis.llen(QUEUE_NAME) == 1, 5)
    redis.close()


def test_a_follower_at_one_replica_hears_what_another_one_does(settings: Settings) -> None:
    with api(settings) as one, api(settings) as other, ThreadPoolExecutor(2) as pool:
        job_id = one.post("/jobs", json=URLS).json()["id"]
        tag = other.get(f"/jobs/{job_id}").headers["ETag"]
        waiting = pool.submit(other.get, f"/jobs/{job_id}?wait=60", headers={"If-None-Match": tag})
        stream = pool.submit(other.get, f"/jobs/{job_id}/events")
        time.sleep(1.0)  # both wait now, or else they see at once what they would wait for

        one.delete(f"/jobs/{job_id}")

        assert waiting.result(20).json()["status"] == "canceled"
        assert [line for line in stream.result(20).text.splitlines() if line.startswith("event")] == [
            "event: created",
            "event: canceled",
        ]


def test_a_webhook_is_told_by_the_next_process_under_the_same_id(settings: Settings, site: Site) -> None:
    site.pages["/hook"] = lambda visit: visit.reply(503)
    with api(settings) as client:
        job_id = client.post("/jobs", json=URLS | {"webhook_url": site.url("/hook")}).json()["id"]
        client.delete(f"/jobs/{job_id}")
        wait_until(lambda: len(site.visits) == 1, 5)
    redis = Redis.from_url(settings.redis_url)
    redis.zadd("highsync:webhooks:due", {f"{job_id}:canceled": 0.0})  # five seconds later
    site.pages["/hook"] = lambda visit: visit.reply(200)

    with api(settings):
        wait_until(lambda: redis.zcard("highsync:webhooks:due") == 0, 5)
    redis.close()

    assert [headers["webhook-id"] for _, _, headers, _ in site.visits] == [f"{job_id}-canceled"] * 2


def test_two_replicas_tell_a_webhook_once(settings: Settings, site: Site) -> None:
    site.pages["/hook"] = lambda visit: visit.reply(200)
    store = RedisJobStore.connect(settings.redis_url)
    with api(settings) as one, api(settings):
        for _ in range(5):
            job_id = one.post("/jobs", json=URLS | {"webhook_url": site.url("/hook")}).json()["id"]
            one.delete(f"/jobs/{job_id}")
        wait_until(lambda: len(site.visits) >= 5, 10)

    assert store.stats().by_status[JobStatus.CANCELED] == 5
    assert len({headers["webhook-id"] for _, _, headers, _ in site.visits}) == len(site.visits) == 5


def test_an_emptied_redis_opens_no_door_and_takes_new_keys(settings: Settings) -> None:
    # Given a tenant with a key and a job
    settings = settings.model_copy(update={"allow_unauthenticated": False})
    keyring = Keyring(RedisKeyStore.connect(settings.redis_url), RedisJobStore.connect(settings.redis_url))

    def new_key() -> dict[str, str]:
        _, text = keyring.create("ada", (Scope.SUBMIT, Scope.READ), KeyLimits())
        return {"Authorization": f"Bearer {text.get_secret_value()}"}

    with api(settings) as client:
        lost = new_key()
        job = client.post("/jobs", json=URLS, headers=lost).json()["links"]["self"]
        # When everything in Redis is thrown away
        with Redis.from_url(settings.redis_url) as redis:
            redis.flushall()
        # Then the key is unknown, and nobody is let in without one; a new key works at once, and the job is gone
        assert client.post("/jobs", json=URLS, headers=lost).json()["code"] == "invalid_api_key"
        assert client.post("/jobs", json=URLS).json()["code"] == "missing_api_key"
        new = new_key()
        assert client.get(job, headers=new).json()["code"] == "job_not_found"
        assert client.post("/jobs", json=URLS, headers=new).status_code == 202
