"""What the Redis store does when Redis, or the way to it, is in trouble; and that it behaves as the fake does."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis, exceptions
from redis.exceptions import RedisError, ResponseError

from core.errors import ErrorCode, JobNotFound, QueueUnavailable, TooManyQueued
from core.job_store import JobStore, Lease, LeaseLost, MemoryJobStore, Outlook, RedisJobStore
from core.jobs import Job, JobEvent, JobFailure, JobId, JobOptions, JobStatus, Priority, Progress
from core.redis_client import UNAVAILABLE, redis_errors_translated
from tests.core.houses import LEASE_TTL_S, RESULT, age_redis, claim, make_job
from tests.servers import RedisServer

ANSWER_WITHIN_S = 2.0
TENANTS = ("ada", "ben", "cleo")
STEP_S = 1000.0  # of the clocks, where two stores are compared: far more than the comparison takes
PATIENCE_S = 60.0  # of a worker without a heartbeat, where the test is not about time


def full(server: RedisServer) -> None:
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "1mb")


def read_only(server: RedisServer) -> None:
    with Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", 1)


def locked(server: RedisServer) -> None:
    with Redis.from_url(server.url) as client:
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal", skipme=False)


TROUBLES: dict[str, Callable[[RedisServer], None]] = {
    "down": RedisServer.kill,
    "frozen": RedisServer.freeze,
    "full": full,
    "read only": read_only,
    "locked": locked,
}


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, decode_responses=True) as connection:
        yield connection


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_every_trouble_is_queue_unavailable_and_soon(
    redis_server: RedisServer, trouble: Callable[[RedisServer], None]
) -> None:
    store = RedisJobStore.connect(redis_server.url, PATIENCE_S)
    store.create(make_job())
    with suppress(exceptions.ConnectionError):
        trouble(redis_server)

    for call in (lambda: store.create(make_job()), store.ping):
        start = time.monotonic()
        with pytest.raises(QueueUnavailable):
            call()
        assert time.monotonic() - start < ANSWER_WITHIN_S


def test_a_restart_of_redis_between_two_calls_goes_unnoticed(redis_server: RedisServer) -> None:
    store = RedisJobStore.connect(redis_server.url, PATIENCE_S)
    job = make_job()
    store.create(job)
    redis_server.stop()
    redis_server.start()
    assert store.get(job.id) == job


def test_no_accepted_job_is_lost_when_redis_is_killed(redis_server: RedisServer) -> None:
    """Given clients that post all the time, when the power fails, every job they were told is accepted is there."""
    accepted: list[Job] = []

    def post() -> None:
        store = RedisJobStore.connect(redis_server.url, PATIENCE_S)
        with suppress(QueueUnavailable):
            while True:
                job = make_job()
                store.create(job)
                accepted.append(job)

    clients = [threading.Thread(target=post) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.3)
    redis_server.kill()
    for client in clients:
        client.join()
    redis_server.start()

    store = RedisJobStore.connect(redis_server.url, PATIENCE_S)
    assert len(accepted) > 4
    for job in accepted:
        assert store.get(job.id) == job
    assert store.stats().depth >= len(accepted)


def test_a_restart_of_redis_does_not_cost_a_living_worker_its_job(redis_server: RedisServer) -> None:
    """While Redis is down nobody can renew. Every worker gets one lease's time to report before it counts as lost."""
    store = RedisJobStore.connect(redis_server.url, LEASE_TTL_S)
    store.create(job := make_job())
    lease = claim(store, job.id)
    redis_server.kill()
    time.sleep(LEASE_TTL_S * 1.1)
    redis_server.start()

    assert store.recover_lost(3) == ()
    store.renew(lease)
    store.succeed(lease, RESULT)


def test_a_success_that_was_not_heard_can_be_repeated_after_a_restart(redis_server: RedisServer) -> None:
    store = RedisJobStore.connect(redis_server.url, PATIENCE_S)
    store.create(job := make_job())
    lease = claim(store, job.id)
    store.succeed(lease, RESULT)
    redis_server.kill()
    with pytest.raises(QueueUnavailable):
        store.succeed(lease, RESULT)
    redis_server.start()
    store.succeed(lease, RESULT)
    assert store.get(job.id).result == RESULT


def test_a_scripts_own_mistake_is_not_called_unavailable(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client, pytest.raises(ResponseError), redis_errors_translated():
        client.eval("error('a queued job cannot become succeeded')", 0)


def test_a_feed_misses_nothing_of_a_restart(redis_server: RedisServer) -> None:
    store = RedisJobStore.connect(redis_server.url, PATIENCE_S)
    feed = store.changes()
    feed.wait(0)
    store.create(job := make_job())
    redis_server.kill()
    with pytest.raises(QueueUnavailable):
        feed.wait(1)
    redis_server.start()
    store.request_cancel(job.id)

    seen = feed.wait(1)

    assert [(event.job_id, event.type.value) for event in seen] == [(job.id, "created"), (job.id, "canceled")]
    assert seen == store.history(job.id)


def test_a_long_render_does_not_grow_the_history(client: Redis) -> None:
    store = RedisJobStore(client, PATIENCE_S)
    store.create(job := make_job())
    lease = claim(store, job.id)
    sizes = []
    for step in range(1, 1001):
        store.report_progress(lease, Progress(stage="denoise", fraction=step / 1000))
        if step in (500, 1000):
            sizes.append(client.memory_usage(f"highsync:events:{job.id}"))
    assert client.xlen(f"highsync:events:{job.id}") == 3
    assert sizes[1] < sizes[0] * 1.2


_OF_A_CLUSTER = {
    "AskError", "ClusterCrossSlotError", "ClusterDownError", "ClusterError", "CrossSlotTransactionError", "MovedError",
    "RedisClusterException", "SlotNotCoveredError", "TryAgainError",
}  # fmt: skip
_OF_UNUSED_FEATURES = {
    "InvalidPipelineStack",
    "LockError",
    "LockNotOwnedError",
    "ModuleError",
    "PubSubError",
    "WatchError",
}
_OF_WRONG_CALLS = {
    "AuthenticationWrongNumberOfArgsError", "DataError", "ExecAbortError", "InvalidResponse", "NoScriptError",
    "NoSuchFieldsetError", "RedisError", "ResponseError",
}  # fmt: skip
OUR_MISTAKES = _OF_A_CLUSTER | _OF_UNUSED_FEATURES | _OF_WRONG_CALLS


def test_every_exception_of_redis_py_is_either_unavailable_or_our_mistake() -> None:
    theirs = {
        name: kind for name, kind in vars(exceptions).items() if isinstance(kind, type) and issubclass(kind, RedisError)
    }
    for name, kind in theirs.items():
        assert issubclass(kind, UNAVAILABLE) != (name in OUR_MISTAKES), name


class BothStores(RuleBasedStateMachine):
    """Whatever is done to both stores, their records stay the same, but for the times in them."""

    redis: Redis

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushdb()
        self.now = time.time()
        self.memory = MemoryJobStore(LEASE_TTL_S, clock=lambda: self.now)
        self.real = RedisJobStore(self.redis, LEASE_TTL_S)
        self.ids: list[JobId] = []
        self.leases: list[tuple[Lease, Lease]] = []
        self.feeds = self.memory.changes(), self.real.changes()
        for feed in self.feeds:
            feed.wait(0)

    def both(self, call: Callable[[JobStore, int], object]) -> tuple[object, object]:
        answers = []
        for which, store in enumerate((self.memory, self.real)):
            try:
                answers.append(call(store, which))
            except (LeaseLost, JobNotFound, TooManyQueued, ValueError) as error:
                answers.append(type(error))
        return answers[0], answers[1]

    @rule(
        tenant=st.sampled_from(TENANTS),
        priority=st.sampled_from(Priority),
        in_steps=st.sampled_from([None, 0.5, 1.5]),
        start_in_steps=st.sampled_from([None, 0.5, 1.5]),
    )
    def create(self, tenant: str, priority: Priority, in_steps: float | None, start_in_steps: float | None) -> None:
        """Deadlines in steps of the clocks. Each store's are of its own clock: only the memory's one runs ahead."""
        job = make_job(tenant=tenant, options=JobOptions(priority=priority))
        steps, nows = {"deadline_at": in_steps, "start_deadline_at": start_in_steps}, (self.now, time.time())
        self.ids.append(job.id)

        def put(store: JobStore, which: int) -> None:
            deadlines = {
                name: datetime.fromtimestamp(nows[which] + count * STEP_S, UTC)
                for name, count in steps.items()
                if count is not None
            }
            store.create(job.model_copy(update=deadlines), max_queued=4)

        self.both(put)

    @rule(tenant=st.sampled_from(TENANTS), max_running=st.sampled_from([None, 1, 2]))
    def limit_running(self, tenant: str, max_running: int | None) -> None:
        self.both(lambda store, _: store.limit_running(tenant, max_running))

    @rule()
    def claim(self) -> None:
        first, second = self.both(lambda store, _: store.claim_next("worker"))
        assert (first is None) == (second is None)
        if isinstance(first, Lease) and isinstance(second, Lease):
            assert first.job.id == second.job.id
            self.leases.append((first, second))

    @rule(data=st.data(), write=st.sampled_from(["renew", "progress", "succeed", "fail", "cancel", "release"]))
    def write(self, data: st.DataObject, write: str) -> None:
        if self.leases:
            pair = data.draw(st.sampled_from(self.leases))
            calls: dict[str, Callable[[JobStore, Lease], object]] = {
                "renew": lambda store, lease: store.renew(lease),
                "progress": lambda store, lease: store.report_progress(lease, Progress(stage="denoise", fraction=0.5)),
                "succeed": lambda store, lease: store.succeed(lease, RESULT),
                "fail": lambda store, lease: store.fail(lease, JobFailure.of(ErrorCode.GPU_OOM, "No room.")),
                "cancel": lambda store, lease: store.finish_canceled(lease),
                "release": lambda store, lease: store.release(lease),
            }
            call = calls[write]
            first, second = self.both(lambda store, which: call(store, pair[which]))
            assert first == second

    @rule(data=st.data(), what=st.sampled_from(["request_cancel", "delete"]))
    def end(self, data: st.DataObject, what: str) -> None:
        if self.ids:
            job_id = data.draw(st.sampled_from(self.ids))
            first, second = self.both(lambda store, _: getattr(store, what)(job_id))
            assert isinstance(first, Job) == isinstance(second, Job)
            assert isinstance(first, Job) or first == second

    @rule(recover=st.booleans())
    def pass_time(self, recover: bool) -> None:
        self.now += STEP_S
        age_redis(self.redis, STEP_S)
        if recover:
            self.both(lambda store, _: store.recover_lost(2))

    @rule()
    def expire(self) -> None:
        first, second = self.both(lambda store, _: store.expire_overdue())
        assert isinstance(first, tuple)
        assert isinstance(second, tuple)
        assert {job.id: job.error for job in first} == {job.id: job.error for job in second}

    @invariant()
    def the_same_is_told_of_them(self) -> None:
        told = [sorted(story(feed.wait(0.001)), key=str) for feed in self.feeds]
        assert told[0] == told[1]
        for job in self.memory.list(limit=100).jobs:
            assert story(self.memory.history(job.id)) == story(self.real.history(job.id))

    @invariant()
    def records_are_the_same(self) -> None:
        first, second = self.memory.list(limit=100).jobs, self.real.list(limit=100).jobs
        assert [timeless(job) for job in first] == [timeless(job) for job in second]
        mine, theirs = self.memory.stats(), self.real.stats()
        assert (mine.by_status, mine.startable) == (theirs.by_status, theirs.startable)
        assert [ahead(self.memory.outlook(job)) for job in first] == [ahead(self.real.outlook(job)) for job in second]
        for tenant in TENANTS:
            assert [job.id for job in self.real.list(tenant=tenant, limit=100).jobs] == [
                job.id for job in self.memory.list(tenant=tenant, limit=100).jobs
            ]
        for status in JobStatus:
            assert [job.id for job in self.real.list(status, limit=100).jobs] == [
                job.id for job in self.memory.list(status, limit=100).jobs
            ]


def ahead(outlook: Outlook) -> tuple[int | None, int, int]:
    """Without the seconds, which each store takes from its own clock."""
    return outlook.position, outlook.running, len(outlook.run_seconds)


def timeless(job: Job) -> dict[str, object]:
    """The record without the times that the stores took from their own clocks; only whether they are there."""
    own = ("deadline_at", "start_deadline_at", "started_at", "finished_at", "cancel_requested_at")
    attempts = [
        attempt.model_dump(exclude={"started_at", "ended_at"}) | {"ended": attempt.ended_at is not None}
        for attempt in job.attempt_log
    ]
    return job.model_dump(exclude={"attempt_log"}) | {
        "attempt_log": attempts,
        **{name: getattr(job, name) is not None for name in own},
    }


def story(events: Sequence[JobEvent]) -> list[tuple[object, ...]]:
    return [(event.job_id, event.type, event.attempt, event.progress) for event in events]


def test_both_stores_do_the_same(client: Redis) -> None:
    machine = type("Machine", (BothStores,), {"redis": client})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=15, stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )
