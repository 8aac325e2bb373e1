"""A webhook outlives the death of whoever delivers it and of what it is written down in."""

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from client import HighSync
from tests.servers import wait_until
from tests.sites import Site, Visit
from tests.stub_stack import StubStack, stub_clip, stub_voice

pytestmark = pytest.mark.e2e

TIMEOUT_S = 120.0


@pytest.fixture
def stack(tmp_path: Path, site: Site) -> Iterator[StubStack]:
    with StubStack(tmp_path / "stack", settings={"HIGHSYNC_FETCH_ALLOW": f"127.0.0.1/32:{site.port}"}) as stack:
        yield stack


def test_a_delivery_under_way_survives_the_death_of_api_and_redis(stack: StubStack, site: Site, tmp_path: Path) -> None:
    # Given a receiver that has the message, and does not answer
    ids: list[str] = []
    answering = threading.Event()

    def hook(visit: Visit) -> None:
        ids.append(visit.headers["webhook-id"])
        answering.wait(TIMEOUT_S)
        visit.reply(200)

    site.pages["/slow-hook"] = hook
    with HighSync(stack.url) as client:
        video, voice = client.upload(stub_clip(tmp_path / "clip.mp4")), client.upload(stub_voice(tmp_path / "line.wav"))
        receiver = {"webhook_url": site.url("/slow-hook"), "webhook_events": ["job.succeeded"]}
        job = {"video_url": video, "audio_url": voice, **receiver}
        assert httpx.post(f"{stack.url}/jobs", json=job, trust_env=False).status_code == 202
        wait_until(lambda: len(ids) == 1, TIMEOUT_S, what="the first delivery")

    # When the API dies with it, and Redis, and both come back
    stack.api.kill()
    stack.redis.kill()
    stack.redis = stack.start_redis()
    answering.set()
    stack.api = stack.start_api()
    with Redis.from_url(stack.redis_url) as redis:
        (due,) = redis.zrange("highsync:webhooks:due", 0, -1)
        redis.zadd("highsync:webhooks:due", {due: 0.0})  # the minute for which a delivery is held has passed

        # Then it is delivered again, under the same id, and is done with
        wait_until(lambda: redis.zcard("highsync:webhooks:due") == 0, TIMEOUT_S, what="the second delivery")
    assert len(ids) == 2
    assert len(set(ids)) == 1
