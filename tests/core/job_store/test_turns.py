"""Whose turn it is: priorities, fairness between tenants, limits, and the position in the queue; for both stores."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import JobNotFound, TooManyQueued
from core.job_store import JobStore
from core.jobs import Job, JobId, JobOptions, JobStatus, Priority
from tests.core.houses import RESULT, House, claim, make_job

MANY = 10_000


def post(store: JobStore, tenant: str, priority: Priority = Priority.NORMAL) -> Job:
    job = make_job(tenant=tenant, options=JobOptions(priority=priority))
    store.create(job)
    return job


def claimed_tenants(store: JobStore, number: int) -> list[str]:
    return [claim(store).job.tenant for _ in range(number)]


# the order


def test_what_came_first_is_served_first(store: JobStore) -> None:
    jobs = [post(store, "ada") for _ in range(20)]
    assert [claim(store).job.id for _ in jobs] == [job.id for job in jobs]
    assert store.claim_next("worker-1") is None


def test_a_look_goes_before_the_tenants_own_renders(store: JobStore) -> None:
    render = post(store, "ada")
    look = make_job(tenant="ada", options=JobOptions(preflight_only=True))
    store.create(look)
    assert [claim(store).job.id for _ in range(2)] == [look.id, render.id]


def test_tenants_take_turns_however_much_each_of_them_wants(store: JobStore) -> None:
    for tenant, jobs in (("ada", 4), ("ben", 2), ("cleo", 1)):
        for _ in range(jobs):
            post(store, tenant)

    assert claimed_tenants(store, 7) == ["ada", "ben", "cleo", "ada", "ben", "ada", "ada"]


def test_who_was_served_longest_ago_is_next(store: JobStore) -> None:
    for tenant in ("ada", "ben", "ada"):
        post(store, tenant)
        claim(store)
    for tenant in ("ada", "ben"):
        post(store, tenant)

    assert claimed_tenants(store, 2) == ["ben", "ada"]


def test_ten_thousand_jobs_of_one_tenant_do_not_starve_anothers_single_one(store: JobStore) -> None:
    """Attack case 40: whoever comes late is at most one job behind everybody else."""
    with ThreadPoolExecutor(32) as clients:
        list(clients.map(lambda _: post(store, "ada"), range(MANY)))
    claim(store)
    single = post(store, "ben")

    assert store.outlook(single).position == 1
    assert claim(store).job.id == single.id


def test_a_higher_priority_goes_first_whoevers_it_is(store: JobStore) -> None:
    low, normal, high = (post(store, "ada", priority) for priority in reversed(Priority))
    others = post(store, "ben")

    order = [claim(store).job.id for _ in range(4)]

    assert order == [high.id, others.id, normal.id, low.id]


def test_a_released_job_has_its_old_place(store: JobStore) -> None:
    first, second = post(store, "ada"), post(store, "ada")
    store.release(claim(store, first.id))

    assert [store.outlook(job).position for job in (first, second)] == [1, 2]
    claim(store, first.id)


def test_a_lost_job_has_its_old_place(house: House) -> None:
    first, second = post(house.store, "ada"), post(house.store, "ada")
    claim(house.store, first.id)
    house.lose_worker()
    house.store.recover_lost(3)

    claim(house.store, first.id)
    claim(house.store, second.id)


# limits


def test_a_tenant_at_its_limit_waits_and_the_others_go_on(store: JobStore) -> None:
    store.limit_running("ada", 2)
    for _ in range(4):
        post(store, "ada", Priority.HIGH)
    post(store, "ben", Priority.LOW)

    leases = [claim(store) for _ in range(3)]

    assert [lease.job.tenant for lease in leases] == ["ada", "ada", "ben"]
    assert store.claim_next("worker-1") is None
    store.succeed(leases[0], RESULT)
    assert claim(store).job.tenant == "ada"
    assert store.claim_next("worker-1") is None


@pytest.mark.parametrize("limit", [3, None])
def test_a_limit_can_be_changed_and_lifted(store: JobStore, limit: int | None) -> None:
    for _ in range(3):
        post(store, "ada")
    store.limit_running("ada", 1)
    claim(store)
    assert store.claim_next("worker-1") is None

    store.limit_running("ada", limit)

    assert claimed_tenants(store, 2) == ["ada", "ada"]


def test_startable_is_what_workers_could_take_at_once(store: JobStore) -> None:
    store.limit_running("ada", 2)
    assert store.stats().startable == 0
    for _ in range(5):
        post(store, "ada")
    post(store, "ben", Priority.LOW)
    assert (store.stats().depth, store.stats().startable) == (6, 3)

    claim(store)

    assert (store.stats().depth, store.stats().startable) == (5, 2)
    store.limit_running("ada", 1)  # less than it has
    claim(store)
    assert (store.stats().depth, store.stats().startable) == (4, 0)


def test_no_more_jobs_wait_than_may(store: JobStore) -> None:
    other = post(store, "ben")
    for _ in range(3):
        store.create(make_job(tenant="ada"), max_queued=3)
    one_too_many = make_job(tenant="ada")
    with pytest.raises(TooManyQueued):
        store.create(one_too_many, max_queued=3)
    with pytest.raises(JobNotFound):
        store.get(one_too_many.id)

    claim(store)  # ada has room for one more
    store.create(one_too_many, max_queued=3)
    store.create(one_too_many, max_queued=3)  # a repeat is not one more
    assert store.stats().depth == 4
    assert store.get(other.id).status is JobStatus.QUEUED


# the position


def test_only_what_waits_has_a_position(store: JobStore) -> None:
    running, over, waiting = (post(store, "ada") for _ in range(3))
    claim(store, running.id)
    store.request_cancel(over.id)

    assert [store.outlook(job).position for job in (running, over, waiting, make_job())] == [None, None, 1, None]


arrivals = st.lists(st.tuples(st.sampled_from(["ada", "ben", "cleo"]), st.sampled_from(Priority)), max_size=12)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=arrivals, after=arrivals, claims=st.integers(0, 6))
def test_positions_say_in_which_order_jobs_of_one_priority_are_claimed(
    store: JobStore, before: list[tuple[str, Priority]], after: list[tuple[str, Priority]], claims: int
) -> None:
    """Given any history, each priority's jobs start in the order of their positions, which have no gaps."""
    while store.claim_next("worker-1"):
        pass
    for tenant, priority in before:
        post(store, tenant, priority)
    for _ in range(claims):
        store.claim_next("worker-1")
    for tenant, priority in after:
        post(store, tenant, priority)

    jobs = list(store.list(JobStatus.QUEUED, limit=100).jobs)
    positions = {job.id: store.outlook(job).position for job in jobs}

    assert sorted(map(int, filter(None, positions.values()))) == list(range(1, len(jobs) + 1))
    first = jobs and min(job.options.priority for job in jobs if positions[job.id] == 1)
    same = sorted((job for job in jobs if job.options.priority == first), key=lambda job: positions[job.id] or 0)
    assert [claim(store).job.id for _ in same] == [job.id for job in same]


# whose jobs are seen


def test_another_tenants_job_is_as_unknown_as_none(store: JobStore) -> None:
    job = post(store, "ada")
    assert store.get(job.id, "ada") == store.get(job.id) == job
    for job_id in (job.id, JobId("nobody")):
        with pytest.raises(JobNotFound, match=f"^There is no job {job_id}.$"):
            store.get(job_id, "ben")


def test_jobs_are_listed_by_tenant(store: JobStore) -> None:
    ours = {post(store, "ada").id for _ in range(3)}
    theirs = post(store, "ben")
    claim(store)

    page = store.list(limit=2, tenant="ada")
    rest = store.list(limit=2, cursor=page.next_cursor, tenant="ada")

    assert {job.id for job in page.jobs + rest.jobs} == ours
    assert rest.next_cursor is None
    assert [job.id for job in store.list(tenant="ben").jobs] == [theirs.id]
    assert Counter(job.tenant for job in store.list().jobs) == {"ada": 3, "ben": 1}
    assert [len(store.list(status, tenant="ada").jobs) for status in (JobStatus.QUEUED, JobStatus.RUNNING)] == [2, 1]
    store.request_cancel(theirs.id)
    store.delete(theirs.id)
    assert store.list(tenant="ben").jobs == ()
