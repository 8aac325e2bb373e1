"""Worker presence: one contract, kept by Redis and by the fake."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.redis_client import connect
from core.worker_presence import MemoryWorkerPresence, RedisWorkerPresence, WorkerPresence
from tests.servers import RedisServer

MakePresence = Callable[[float], WorkerPresence]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with RedisServer(folder) as server:
        yield server.url


@pytest.fixture(params=["redis", "memory"])
def make_presence(request: pytest.FixtureRequest) -> Iterator[MakePresence]:
    if request.param == "memory":
        yield MemoryWorkerPresence
        return
    redis = connect(request.getfixturevalue("redis_url"))
    redis.flushall()
    yield lambda ttl_s: RedisWorkerPresence(redis, ttl_s)
    redis.close()


def test_a_worker_counts_once_however_often_it_announces_itself(make_presence: MakePresence) -> None:
    presence = make_presence(60.0)
    for _ in range(3):
        presence.announce("one")
    presence.announce("two")
    assert presence.count() == 2


def test_a_worker_that_leaves_is_gone_at_once(make_presence: MakePresence) -> None:
    presence = make_presence(60.0)
    presence.announce("one")
    presence.leave("one")
    presence.leave("never there")
    assert presence.count() == 0


def test_a_silent_worker_is_gone_after_its_time(make_presence: MakePresence) -> None:
    presence = make_presence(0.2)
    presence.announce("one")
    assert presence.count() == 1
    time.sleep(0.3)
    assert presence.count() == 0
