"""What jobs cost in memory: bounds that hold for each job, whatever its number. The figures: benchmarks/api_load.py."""

from pathlib import Path
from typing import cast

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from core.job_store import RedisJobStore
from core.jobs import Progress
from core.queue import QUEUE_NAME
from core.settings import Settings
from service.app import create_app
from tests.core.houses import PREFLIGHT, RESULT
from tests.servers import RedisServer

JOBS = 500
KIB = 1024
QUEUED_KIB = 12
FINISHED_KIB = 16
"""Of Redis for each job. Measured with Redis 7: 8 and 10; the rest is room for other versions."""

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
TIMINGS = dict.fromkeys(("fetch", "decode_media", "track_faces", "denoise", "composite", "encode_media"), 1.234)

pytestmark = pytest.mark.e2e


@pytest.fixture
def settings(redis_server: RedisServer, tmp_path: Path) -> Settings:
    return Settings(
        allow_unauthenticated=True,
        secret_key="a key for tests, long enough by far",
        redis_url=redis_server.url,
        storage_url=(tmp_path / "storage").as_uri(),
    )


@pytest.fixture
def redis(settings: Settings) -> Redis:
    return Redis.from_url(settings.redis_url)


def used_kib(redis: Redis) -> float:
    """What Redis holds, in KiB."""
    return cast("dict[str, int]", redis.info("memory"))["used_memory"] / KIB


def finish_all(store: RedisJobStore, redis: Redis) -> None:
    """Do what a worker does: take the message, claim, report, publish."""
    while lease := store.claim_next("worker-1"):
        redis.lpop(QUEUE_NAME)
        store.report_preflight(lease, PREFLIGHT)
        for stage in ("fetch", "denoise", "publish"):
            store.report_progress(lease, Progress(stage=stage, fraction=0.5, frames_done=1, frames_total=2))
        store.succeed(lease, RESULT, TIMINGS)


def test_a_job_costs_redis_a_few_kib(settings: Settings, redis: Redis) -> None:
    with TestClient(create_app(settings)) as client:
        client.post("/jobs", json=URLS)
        empty = used_kib(redis)
        for _ in range(JOBS):
            client.post("/jobs", json=URLS)
        queued = (used_kib(redis) - empty) / JOBS
        finish_all(RedisJobStore.connect(settings.redis_url), redis)
        finished = (used_kib(redis) - empty) / JOBS
    assert (queued < QUEUED_KIB, finished < FINISHED_KIB) == (True, True), (queued, finished)
