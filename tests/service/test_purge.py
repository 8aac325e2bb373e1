"""DELETE of a job that is over leaves nothing of it: not in Redis, not in storage."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from core.job_store import Lease, RedisJobStore
from core.jobs import Progress
from core.preflight import thumbnail_key
from core.queue import QUEUE_NAME
from core.settings import Settings
from service.app import create_app
from service.services import Services
from tests.core.houses import PREFLIGHT, RESULT
from tests.servers import RedisServer, wait_until
from tests.service.conftest import SECRET
from tests.sites import Site

MOVIE = bytes(range(256)) * 100
FOLLOWERS = "highsync:changes"
"""The latest changes of all jobs by their ids, for those who wait: of fixed length, so it forgets by itself."""

pytestmark = pytest.mark.e2e


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        site.pages["/hook"] = lambda visit: visit.reply(200)
        yield site


@pytest.fixture
def settings(redis_server: RedisServer, site: Site, tmp_path: Path) -> Settings:
    return Settings(
        secret_key="a key for tests, long enough by far",
        allow_unauthenticated=True,
        redis_url=redis_server.url,
        storage_url=(tmp_path / "storage").as_uri(),
        fetch_allow=f"127.0.0.1/32:{site.port}",
        fetch_deny="",
        webhook_secret=SECRET,
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def upload(client: TestClient) -> str:
    ticket = client.post("/uploads", json={"sha256": hashlib.sha256(MOVIE).hexdigest()}).json()
    assert client.put(ticket["url"], content=MOVIE).status_code == 204
    return str(ticket["id"])


def work(settings: Settings, tmp_path: Path) -> Lease:
    """What a worker does with the next job, and all that it keeps of it in Redis and in storage."""
    services = Services.from_settings(settings)
    store = RedisJobStore.connect(settings.redis_url, settings.lease_ttl_s)
    lease = store.claim_next("worker-1")
    assert lease is not None
    folder = f"jobs/{lease.job.id}"
    (tmp_path / "file").write_bytes(b"something")
    result = f"{folder}/attempt-1/result.mp4"
    for key in (thumbnail_key(lease.job.id, "s0f0"), f"{folder}/plan.json", f"{folder}/segments/0.mkv", result):
        services.storage.put_file(key, tmp_path / "file", "video/mp4")
    store.report_preflight(lease, PREFLIGHT)
    store.report_progress(lease, Progress(stage="denoise", fraction=0.5, frames_done=1, frames_total=2))
    store.succeed(lease, RESULT.model_copy(update={"key": result}), {"denoise": 1.0})
    return lease


def traces_of(redis: Redis, word: str) -> list[str]:
    """The Redis keys whose name or content has this word."""
    return [key for key in redis.scan_iter("*") if key != FOLLOWERS and word in f"{key} {content(redis, key)}"]


def content(redis: Redis, key: str) -> Any:
    readers = {
        "string": redis.get,
        "hash": redis.hgetall,
        "set": redis.smembers,
        "list": lambda key: redis.lrange(key, 0, -1),
        "zset": lambda key: redis.zrange(key, 0, -1),
        "stream": redis.xrange,
    }
    return readers[str(redis.type(key))](key)


def test_nothing_is_left_of_a_job_that_was_deleted(
    client: TestClient, settings: Settings, site: Site, tmp_path: Path
) -> None:
    # Given a job that has gone all its way, with uploads, a report, a checkpoint, a result, a history and a webhook
    video, audio = upload(client), upload(client)
    job = client.post(
        "/jobs", json={"video_url": video, "audio_url": audio, "webhook_url": site.url("/hook"), "metadata": {"a": 1}}
    ).json()
    work(settings, tmp_path)
    deliveries = f"/webhooks/deliveries?job_id={job['id']}"
    with Redis.from_url(settings.redis_url, decode_responses=True) as redis:
        wait_until(lambda: bool(client.get(deliveries).json()["deliveries"]))
        redis.delete(QUEUE_NAME)  # its message, which a worker has taken
        assert traces_of(redis, job["id"])

        # When it is deleted
        assert client.delete(job["links"]["self"]).status_code == 204

        # Then it is as if it had never been
        for word in (job["id"], video.removeprefix("upload://"), audio.removeprefix("upload://")):
            assert traces_of(redis, word) == []
        assert redis.hgetall("highsync:uploads:bytes") == {}
    storage = tmp_path / "storage"
    assert [path for path in storage.rglob("*") if path.is_file() and path.name != "lock"] == []
    assert client.get(job["links"]["self"]).status_code == client.get(deliveries).status_code == 404
