"""Both job stores as fixtures, for tests of one behaviour."""

import time
from collections.abc import Iterator

import pytest
from redis import Redis

from core.job_store import JobStore, MemoryJobStore, RedisJobStore
from core.redis_client import connect
from tests.core.houses import LEASE_TTL_S, House, age_redis
from tests.servers import RedisServer


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        time.sleep(
            LEASE_TTL_S + 0.1
        )  # leases count from one lease's time after the start of Redis, whose clock counts whole seconds
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    with Redis.from_url(shared_redis.url) as client:
        client.flushall()
    return shared_redis.url


@pytest.fixture(params=["memory", "redis"])
def house(request: pytest.FixtureRequest) -> House:
    if request.param == "redis":
        client = connect(request.getfixturevalue("redis_url"))
        return House(RedisJobStore(client, LEASE_TTL_S), lambda seconds: age_redis(client, seconds))
    now = [time.time()]

    def let_pass(seconds: float) -> None:
        now[0] += seconds

    return House(MemoryJobStore(LEASE_TTL_S, clock=lambda: now[0]), let_pass)


@pytest.fixture
def store(house: House) -> JobStore:
    return house.store
