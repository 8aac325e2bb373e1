"""Both upload stores as fixtures, for tests of one behaviour."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from core.redis_client import connect
from core.uploads import MemoryUploadStore, RedisUploadStore, UploadStore


@dataclass(frozen=True)
class Desk:
    """An upload store and its clock."""

    uploads: UploadStore
    let_pass: Callable[[float], None]


@pytest.fixture(params=["memory", "redis"])
def desk(request: pytest.FixtureRequest) -> Desk:
    if request.param == "redis":
        client = connect(request.getfixturevalue("redis_url"))

        def age(seconds: float) -> None:
            for index in ("highsync:uploads:unused", "highsync:uploads:doubtful"):
                for member in client.zrange(index, 0, -1):
                    client.zincrby(index, -seconds, str(member))

        return Desk(RedisUploadStore(client), age)
    now = [time.time()]

    def let_pass(seconds: float) -> None:
        now[0] += seconds

    return Desk(MemoryUploadStore(lambda: now[0]), let_pass)


@pytest.fixture
def uploads(desk: Desk) -> UploadStore:
    return desk.uploads
