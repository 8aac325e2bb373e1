"""A Redis that keeps silent costs a few callers their patience, not all of them."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from core.errors import QueueUnavailable
from core.redis_client import CONNECT_TIMEOUT_S, PAUSE_S, REPLY_TIMEOUT_S, connect, redis_errors_translated
from tests.servers import RedisServer, wait_until

pytestmark = pytest.mark.e2e

CALLERS = 200
SLACK_S = 1.5


def ask(client: Redis) -> str:
    with redis_errors_translated():
        return str(client.get("word"))


def ask_in_a_pipeline(client: Redis) -> str:
    with redis_errors_translated(), client.pipeline() as pipe:
        pipe.get("word")
        return str(pipe.execute()[0])


@pytest.mark.parametrize("question", [ask, ask_in_a_pipeline])
def test_only_the_first_callers_wait_for_a_silent_server(
    redis_server: RedisServer, question: Callable[[Redis], str]
) -> None:
    with connect(redis_server.url) as client:
        client.set("word", "here")
        redis_server.freeze()
        started, refused = time.monotonic(), 0
        for _ in range(CALLERS):
            with pytest.raises(QueueUnavailable):
                question(client)
            refused += 1
        assert refused == CALLERS
        assert time.monotonic() - started < REPLY_TIMEOUT_S + SLACK_S

        redis_server.thaw()
        wait_until(lambda: answers(client, question), PAUSE_S + CONNECT_TIMEOUT_S + REPLY_TIMEOUT_S + SLACK_S)


def test_one_caller_asks_for_all_others_whether_it_is_back(redis_server: RedisServer) -> None:
    with connect(redis_server.url) as client:
        redis_server.freeze()
        assert not answers(client, ask)
        time.sleep(PAUSE_S)
        seconds: list[float] = []

        def ask_and_note() -> None:
            started = time.monotonic()
            assert not answers(client, ask)
            seconds.append(time.monotonic() - started)

        threads = [threading.Thread(target=ask_and_note) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(s > REPLY_TIMEOUT_S / 2 for s in seconds) == 1


def test_a_server_that_is_down_is_asked_every_time(tmp_path: Path) -> None:
    """It refuses at once, so nobody need be spared."""
    server = RedisServer(tmp_path)
    with connect(server.url) as client:
        assert not answers(client, ask)
        with server:
            assert answers(client, ask)


def answers(client: Redis, question: Callable[[Redis], str]) -> bool:
    """Whether a question gets an answer."""
    try:
        question(client)
    except QueueUnavailable:
        return False
    return True
