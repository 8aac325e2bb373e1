"""Batches, in both stores: all of the jobs or none, counted in every state, over once."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.batches import Batch, new_batch_id
from core.errors import BatchNotFound, ErrorCode, JobNotFound, TooManyQueued
from core.job_store import JobStore, Lease
from core.jobs import Job, JobFailure, JobStatus
from tests.core.houses import RESULT, House, claim, make_job

FAILURE = JobFailure.of(ErrorCode.NO_FACE_FOUND, "No frame shows a face.")

ENDS: dict[JobStatus, Callable[[JobStore, Lease], None]] = {
    JobStatus.SUCCEEDED: lambda store, lease: store.succeed(lease, RESULT),
    JobStatus.FAILED: lambda store, lease: store.fail(lease, FAILURE),
    JobStatus.CANCELED: lambda store, lease: store.finish_canceled(lease),
}


def make_batch(size: int, **changes: object) -> tuple[Batch, list[Job]]:
    facts = {"id": new_batch_id(), "created_at": datetime.now(UTC), "size": size} | changes
    batch = Batch.model_validate(facts)
    return batch, [make_job(batch_id=batch.id, tenant=batch.tenant) for _ in range(size)]


def given_batch(store: JobStore, size: int, **changes: object) -> tuple[Batch, list[Job]]:
    batch, jobs = make_batch(size, **changes)
    store.create_batch(batch, jobs)
    return batch, jobs


def counts(store: JobStore, batch: Batch) -> dict[JobStatus, int]:
    """Of the states that any job is in."""
    return {status: count for status, count in store.get_batch(batch.id).counts.items() if count}


def test_what_was_created_is_read_back(store: JobStore) -> None:
    batch, jobs = given_batch(store, 3, tenant="ada", webhook_url="https://h.org/hook", traceparent="00-a-b-01")

    found = store.get_batch(batch.id)
    assert found.model_copy(update={"counts": {}}) == batch
    assert found.counts == dict.fromkeys(JobStatus, 0) | {JobStatus.QUEUED: 3}
    assert [store.get(job.id) for job in jobs] == jobs


def test_its_jobs_are_jobs_like_any_other_and_start_in_their_order(store: JobStore) -> None:
    _, jobs = given_batch(store, 3)
    assert store.stats().depth == 3
    assert [event.type for event in store.history(jobs[0].id)] == ["created"]
    assert [claim(store).job.id for _ in jobs] == [job.id for job in jobs]


def test_creating_again_changes_nothing(store: JobStore) -> None:
    batch, jobs = given_batch(store, 2)
    claim(store)
    store.create_batch(batch, jobs)
    assert counts(store, batch) == {JobStatus.QUEUED: 1, JobStatus.RUNNING: 1}


def test_it_goes_in_as_a_whole_or_not_at_all(store: JobStore) -> None:
    store.create(make_job(tenant="ada"))
    store.create(make_job(tenant="ben"))
    batch, jobs = make_batch(3, tenant="ada")

    with pytest.raises(TooManyQueued):
        store.create_batch(batch, jobs, max_queued=3)
    assert store.stats().depth == 2
    with pytest.raises(BatchNotFound):
        store.get_batch(batch.id)
    with pytest.raises(JobNotFound):
        store.get(jobs[0].id)

    store.create_batch(batch, jobs, max_queued=4)
    assert store.stats().depth == 5


def test_another_tenants_batch_is_as_unknown_as_none(store: JobStore) -> None:
    batch, _ = given_batch(store, 1, tenant="ada")
    assert store.get_batch(batch.id, "ada").id == batch.id
    for batch_id in (batch.id, new_batch_id()):
        with pytest.raises(BatchNotFound, match=f"^There is no batch {batch_id}.$"):
            store.get_batch(batch_id, "ben")


def test_its_jobs_are_listed_by_page_and_state(store: JobStore) -> None:
    batch, jobs = given_batch(store, 5, tenant="ada")
    given_batch(store, 2, tenant="ada")
    store.create(make_job(tenant="ada"))
    store.request_cancel(jobs[2].id)

    first = store.list(limit=3, batch_id=batch.id)
    rest = store.list(limit=3, batch_id=batch.id, cursor=first.next_cursor)
    assert [job.id for job in first.jobs + rest.jobs] == sorted((job.id for job in jobs), reverse=True)
    assert rest.next_cursor is None
    assert [job.id for job in store.list(JobStatus.CANCELED, batch_id=batch.id).jobs] == [jobs[2].id]
    assert store.list(tenant="ben", limit=3, batch_id=batch.id).jobs == ()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ends=st.lists(st.sampled_from(sorted(ENDS)), min_size=1, max_size=6))
def test_it_is_counted_at_every_step_and_over_with_its_last_job(store: JobStore, ends: list[JobStatus]) -> None:
    """Given any ends of its jobs, the batch is finished after the last of them and not before."""
    batch, _ = given_batch(store, len(ends))
    for number, end in enumerate(ends, start=1):
        lease = claim(store)
        assert store.get_batch(batch.id).finished_at is None
        assert counts(store, batch)[JobStatus.RUNNING] == 1
        ENDS[end](store, lease)
        assert sum(counts(store, batch).values()) == len(ends)
        assert (store.get_batch(batch.id).finished_at is not None) == (number == len(ends))
    assert counts(store, batch) == {end: ends.count(end) for end in set(ends)}
    assert store.get_batch(batch.id).finished_at == store.get(lease.job.id).finished_at


def test_a_lost_worker_and_a_missed_deadline_are_counted_too(house: House) -> None:
    batch, jobs = make_batch(2)
    late = jobs[1].model_copy(update={"deadline_at": datetime.now(UTC)})
    house.store.create_batch(batch, [jobs[0], late])
    claim(house.store, jobs[0].id)
    house.lose_worker()

    house.store.recover_lost(max_lost_attempts=3)
    house.store.expire_overdue()
    assert counts(house.store, batch) == {JobStatus.QUEUED: 1, JobStatus.EXPIRED: 1}

    claim(house.store, jobs[0].id)
    house.lose_worker()
    house.store.recover_lost(max_lost_attempts=1)
    assert counts(house.store, batch) == {JobStatus.FAILED: 1, JobStatus.EXPIRED: 1}
    assert house.store.get_batch(batch.id).finished_at is not None


def test_canceling_it_ends_what_waits_and_asks_what_runs_to_stop(store: JobStore) -> None:
    batch, jobs = given_batch(store, 4)
    _, others = given_batch(store, 1)
    store.succeed(claim(store, jobs[0].id), RESULT)
    running = claim(store, jobs[1].id)

    canceled = store.cancel_batch(batch.id)
    assert {job.id for job in canceled} == {jobs[2].id, jobs[3].id}
    assert all(job.status is JobStatus.CANCELED and job.cancel_requested for job in canceled)
    assert store.renew(running).cancel_requested
    assert counts(store, batch) == {JobStatus.SUCCEEDED: 1, JobStatus.RUNNING: 1, JobStatus.CANCELED: 2}
    assert store.get(others[0].id).status is JobStatus.QUEUED

    assert store.cancel_batch(batch.id) == ()
    store.finish_canceled(running)
    assert store.get_batch(batch.id).finished_at is not None


def test_it_goes_with_its_last_job(store: JobStore) -> None:
    batch, jobs = given_batch(store, 2)
    other, _ = given_batch(store, 1)
    for job in jobs:
        store.request_cancel(job.id)

    store.delete(jobs[0].id)
    assert counts(store, batch) == {JobStatus.CANCELED: 1}
    assert store.get_batch(batch.id).size == 2
    store.delete(jobs[1].id)
    with pytest.raises(BatchNotFound):
        store.get_batch(batch.id)
    assert store.get_batch(other.id).size == 1


def test_a_thousand_jobs_fit(store: JobStore) -> None:
    batch, jobs = given_batch(store, 1000)
    assert counts(store, batch) == {JobStatus.QUEUED: 1000}
    assert claim(store).job.id == jobs[0].id
    assert len(store.cancel_batch(batch.id)) == 999
