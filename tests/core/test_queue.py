"""Messages are hints: they carry an id, get there or fail soon, and are never redelivered behind our back."""

import base64
import json
import ssl
import time
from collections.abc import Callable

import pytest
from celery.contrib.testing.worker import start_worker
from redis import Redis

from core.errors import QueueUnavailable
from core.jobs import JobId, new_job_id
from core.queue import QUEUE_NAME, RENDER_TASK, JobQueue, MemoryJobQueue, make_celery, make_job_queue
from core.settings import Settings
from tests.servers import RedisServer, wait_until

ANSWER_WITHIN_S = 2.0


def settings_for(server: RedisServer) -> Settings:
    return Settings(secret_key="correct-horse-battery-staple-0123456789", redis_url=server.url)


@pytest.fixture(params=["memory", "celery"])
def queue(request: pytest.FixtureRequest) -> JobQueue:
    if request.param == "memory":
        return MemoryJobQueue()
    return make_job_queue(settings_for(request.getfixturevalue("redis_server")))


def test_messages_wait_until_they_are_taken(queue: JobQueue) -> None:
    assert queue.waiting() == 0
    for _ in range(3):
        queue.enqueue(new_job_id())
    assert queue.waiting() == 3


def test_the_fake_hands_out_the_oldest_message_first() -> None:
    queue = MemoryJobQueue()
    queue.enqueue(JobId("first"))
    queue.enqueue(JobId("second"))
    assert [queue.take(), queue.take(), queue.take()] == ["first", "second", None]


def test_a_message_is_the_jobs_id_and_nothing_else(redis_server: RedisServer) -> None:
    job_id = new_job_id()
    make_job_queue(settings_for(redis_server)).enqueue(job_id)

    with Redis.from_url(redis_server.url) as client:
        (message,) = map(json.loads, client.lrange(QUEUE_NAME, 0, -1))
    assert (message["headers"]["task"], message["content-type"]) == (RENDER_TASK, "application/json")
    arguments, keywords, _ = json.loads(base64.b64decode(message["body"]))
    assert (arguments, keywords) == ([job_id], {})


@pytest.mark.parametrize("trouble", [RedisServer.kill, RedisServer.freeze], ids=["down", "frozen"])
def test_without_redis_the_answer_is_queue_unavailable_and_soon(
    redis_server: RedisServer, trouble: Callable[[RedisServer], None]
) -> None:
    queue = make_job_queue(settings_for(redis_server))
    queue.enqueue(new_job_id())
    trouble(redis_server)
    for call in (lambda: queue.enqueue(new_job_id()), queue.waiting):
        start = time.monotonic()
        with pytest.raises(QueueUnavailable):
            call()
        assert time.monotonic() - start < ANSWER_WITHIN_S


def test_a_full_redis_is_queue_unavailable(redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory", "1mb")
    with pytest.raises(QueueUnavailable):
        make_job_queue(settings_for(redis_server)).enqueue(new_job_id())


def test_the_queue_works_again_after_a_restart_of_redis(redis_server: RedisServer) -> None:
    queue = make_job_queue(settings_for(redis_server))
    queue.enqueue(new_job_id())
    redis_server.kill()
    redis_server.start()
    queue.enqueue(new_job_id())
    assert queue.waiting() == 2


@pytest.mark.filterwarnings("ignore::Warning")  # celery's test worker is not free of them
def test_a_worker_takes_the_message_and_its_task_gets_the_id(redis_server: RedisServer) -> None:
    settings = settings_for(redis_server)
    queue, app = make_job_queue(settings), make_celery(settings)
    got: list[str] = []

    @app.task(name=RENDER_TASK)
    def render_job(job_id: str) -> None:
        got.append(job_id)

    job_id = new_job_id()
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20):
        queue.enqueue(job_id)
        wait_until(lambda: bool(got), what="the task")
        wait_until(lambda: queue.waiting() == 0, what="an empty queue")
    assert got == [job_id]


def test_a_message_stays_invisible_for_longer_than_a_job_may_take() -> None:
    """The shortest timeout that any process of ours sets would win and start a job that runs already."""
    settings = Settings(secret_key="x" * 32, job_time_limit_s=7200)
    conf = make_celery(settings).conf
    timeouts = [
        conf.visibility_timeout,
        conf.broker_transport_options["visibility_timeout"],
        conf.result_backend_transport_options["visibility_timeout"],
    ]
    assert len(set(timeouts)) == 1
    assert timeouts[0] > conf.task_time_limit == 7200


def test_celery_trusts_nobody_and_keeps_no_state() -> None:
    conf = make_celery(Settings(secret_key="x" * 32)).conf
    assert conf.accept_content == ["json"]
    assert conf.task_serializer == "json"
    assert conf.task_ignore_result
    assert conf.result_backend is None


def test_an_encrypted_connection_is_made_to_a_server_with_a_certificate_only() -> None:
    app = make_celery(Settings(secret_key="x" * 32, redis_url="rediss://redis:6380/0"))
    assert app.connection_for_write().ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_celery_never_repeats_a_job_by_itself() -> None:
    conf = make_celery(Settings(secret_key="x" * 32)).conf
    assert conf.task_acks_late
    assert conf.task_acks_on_failure
    assert conf.task_acks_on_timeout
    assert not conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss
