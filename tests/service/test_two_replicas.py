"""Two API processes on one Redis and one storage: clients may talk to either, and neither repeats the other's work."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from core.job_store import RedisJobStore
from core.jobs import JobStatus
from core.metrics import JANITOR_REMOVED
from core.queue import QUEUE_NAME
from core.settings import Settings
from service.app import create_app
from tests.core.houses import RESULT
from tests.servers import RedisServer, wait_until

MOVIE = bytes(range(256)) * 100
URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
LEASE_S = 0.5
ROUND_S = 0.05
DEADLINE_S = 30
SOME_ROUNDS_S = 20 * ROUND_S

pytestmark = pytest.mark.e2e


@pytest.fixture
def settings(redis_server: RedisServer, tmp_path: Path) -> Settings:
    return Settings(
        secret_key="a key for tests, long enough by far",
        allow_unauthenticated=True,
        redis_url=redis_server.url,
        storage_url=(tmp_path / "storage").as_uri(),
        reconcile_interval_s=ROUND_S,
        janitor_interval_s=ROUND_S,
        lease_ttl_s=LEASE_S,
        lease_renew_s=LEASE_S / 3,
    )


@pytest.fixture
def replicas(settings: Settings) -> Iterator[tuple[TestClient, TestClient]]:
    with TestClient(create_app(settings)) as one, TestClient(create_app(settings)) as other:
        yield one, other


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    with Redis.from_url(settings.redis_url, decode_responses=True) as redis:
        yield redis


def test_what_one_began_the_other_goes_on_with(replicas: tuple[TestClient, TestClient]) -> None:
    one, other = replicas
    ticket = one.post("/uploads", json={"filename": "a.mp4", "bytes": len(MOVIE)}).json()
    assert other.put(ticket["url"], content=MOVIE).status_code == 204
    assert one.get(ticket["links"]["self"]).json()["state"] == "ready"

    job = other.post("/jobs", json=URLS | {"video_url": ticket["id"]}).json()["links"]["self"]
    assert one.get(job).json()["status"] == "queued"
    assert one.post(f"{job}/cancel").status_code == 200
    assert other.get(job).json()["status"] == "canceled"

    assert other.delete(job).status_code == 204
    assert one.get(job).status_code == 404
    assert one.get(ticket["links"]["self"]).status_code == 404


def test_each_job_is_accepted_and_announced_once(replicas: tuple[TestClient, TestClient], redis: Redis) -> None:
    for replica in replicas:
        assert (
            replica.post("/jobs", json={}).status_code == 422
        )  # FastAPI makes a route at its first use, not thread-safe
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda number: replicas[number % 2].post("/jobs", json=URLS), range(40)))
    assert [answer.text for answer in answers if answer.status_code != 202] == []
    ids = [answer.json()["id"] for answer in answers]

    for replica in replicas:
        assert sorted(ids) == sorted(job["id"] for job in replica.get("/jobs?limit=100").json()["jobs"])
    assert redis.llen(QUEUE_NAME) == len(set(ids)) == 40


def test_a_lost_message_is_sent_again_once(replicas: tuple[TestClient, TestClient], redis: Redis) -> None:
    replicas[0].post("/jobs", json=URLS)
    redis.delete(QUEUE_NAME)
    redis.zadd("highsync:announced", dict.fromkeys(redis.zrange("highsync:announced", 0, -1), 0.0))

    wait_until(lambda: redis.llen(QUEUE_NAME) == 1, DEADLINE_S)
    with pytest.raises(TimeoutError):
        wait_until(lambda: redis.llen(QUEUE_NAME) > 1, SOME_ROUNDS_S)


def test_a_lost_worker_costs_each_job_one_attempt(
    settings: Settings, replicas: tuple[TestClient, TestClient], redis: Redis
) -> None:
    ids = [replicas[number % 2].post("/jobs", json=URLS).json()["id"] for number in range(20)]
    store = RedisJobStore.connect(settings.redis_url, LEASE_S)
    leases = [store.claim_next("worker that dies") for _ in ids]
    assert None not in leases

    wait_until(lambda: store.stats().by_status[JobStatus.QUEUED] == len(ids), DEADLINE_S)

    assert [store.get(job_id).lost_attempts for job_id in ids] == [1] * len(ids)


def test_old_jobs_are_purged_once_by_whoever_comes_first(settings: Settings, tmp_path: Path) -> None:
    before = removed("jobs")
    settings = settings.model_copy(update={"retention_s": 0.2})
    store = RedisJobStore.connect(settings.redis_url, DEADLINE_S)
    with TestClient(create_app(settings)) as one, TestClient(create_app(settings)) as other:
        for number in range(20):
            job_id = (one, other)[number % 2].post("/jobs", json=URLS).json()["id"]
            lease = store.claim_next("worker")
            assert lease is not None
            store.succeed(lease, RESULT.model_copy(update={"key": f"jobs/{job_id}/attempt-1/result.mp4"}))
        wait_until(lambda: one.get("/jobs").json()["jobs"] == [], DEADLINE_S)
        wait_until(lambda: removed("jobs") - before >= 20, DEADLINE_S)

    assert removed("jobs") - before == 20


def removed(kind: str) -> float:
    return JANITOR_REMOVED.labels(kind)._value.get()
