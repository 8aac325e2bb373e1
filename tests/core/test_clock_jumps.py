"""The clock of Redis, which counts leases and ages, jumps by an hour; and so do the clocks of other machines."""

import time
from datetime import timedelta

import pytest

from core.job_store import JobStore, LeaseLost
from core.jobs import JobStatus
from core.queue import MemoryJobQueue
from core.reconciler import ANNOUNCE_GRACE_S, reconcile
from tests.core.houses import RESULT, House, claim, make_job

HOUR_S = 3600.0
NEVER = 100


class TestOfTheStore:
    def test_ahead_costs_an_attempt_and_never_makes_two_results(self, house: House) -> None:
        house.store.create(job := make_job())
        before = claim(house.store, job.id)

        house.let_pass(HOUR_S)
        assert [lost.id for lost in house.store.recover_lost(NEVER)] == [job.id]
        after = claim(house.store, job.id)

        with pytest.raises(LeaseLost):
            house.store.succeed(before, RESULT)
        house.store.succeed(after, RESULT)
        assert house.store.get(job.id).status is JobStatus.SUCCEEDED

    def test_back_does_not_let_a_dead_worker_live_on(self, house: House) -> None:
        house.store.create(job := make_job())
        claim(house.store, job.id)

        house.let_pass(-HOUR_S)
        assert house.store.recover_lost(NEVER) == ()
        house.lose_worker()

        assert [lost.id for lost in house.store.recover_lost(NEVER)] == [job.id]

    def test_back_does_not_take_a_job_from_a_living_worker(self, house: House) -> None:
        house.store.create(job := make_job())
        lease = claim(house.store, job.id)

        house.let_pass(-HOUR_S)
        assert house.store.recover_lost(NEVER) == ()
        house.store.renew(lease)

        house.store.succeed(lease, RESULT)
        assert house.store.get(job.id).lost_attempts == 0

    def test_back_does_not_hide_a_lost_message(self, house: House) -> None:
        house.store.create(job := make_job())
        queue = MemoryJobQueue()

        house.let_pass(-HOUR_S)
        reconcile(house.store, queue, max_lost_attempts=NEVER)
        house.let_pass(ANNOUNCE_GRACE_S + 1)

        assert reconcile(house.store, queue, max_lost_attempts=NEVER).announced == (job.id,)


def test_a_store_tells_its_own_time(house: House) -> None:
    house.store.create(job := make_job())
    claim(house.store, job.id)
    started_at = house.store.get(job.id).started_at
    assert started_at is not None
    assert timedelta(0) <= house.store.now() - started_at < timedelta(minutes=1)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_the_clock_of_a_worker_or_an_api_decides_nothing_about_jobs(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    store.create(kept := make_job(retention_s=HOUR_S / 2))
    lease = claim(store, kept.id)
    store.create(waiting := make_job())
    real_s, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real_s() + jump_s)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(jump_s * 1e9))

    assert store.recover_lost(NEVER) == ()
    assert store.expire_overdue() == ()
    assert store.take_unannounced(ANNOUNCE_GRACE_S, NEVER) == ()
    store.succeed(lease, RESULT)
    assert store.take_purge_due(60, NEVER) == ()
    assert claim(store, waiting.id).job.id == waiting.id
