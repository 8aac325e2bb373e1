"""What a job store promises, for both of them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.errors import ErrorCode, JobNotFound
from core.job_store import JobStore, Lease, LeaseLost, Outlook
from core.job_store.protocol import RUNS_KEPT
from core.jobs import (
    FaceAt,
    Job,
    JobFailure,
    JobId,
    JobOptions,
    JobStatus,
    Priority,
    Progress,
    SyncMode,
    event_position,
)
from tests.core.houses import LEASE_TTL_S, PREFLIGHT, RESULT, House, claim, make_job

FAILURE = JobFailure.of(ErrorCode.NO_FACE_FOUND, "No frame of 250 shows a face.")
URGENT = JobOptions(priority=Priority.HIGH)
HALFWAY = Progress(stage="denoise", fraction=0.5, frames_done=50, frames_total=100, eta_s=12.5)

WRITES: dict[str, Callable[[JobStore, Lease], object]] = {
    "renew": lambda store, lease: store.renew(lease),
    "report_progress": lambda store, lease: store.report_progress(lease, HALFWAY),
    "report_preflight": lambda store, lease: store.report_preflight(lease, PREFLIGHT),
    "succeed": lambda store, lease: store.succeed(lease, RESULT),
    "fail": lambda store, lease: store.fail(lease, FAILURE),
    "finish_canceled": lambda store, lease: store.finish_canceled(lease),
    "release": lambda store, lease: store.release(lease),
}
ENDS = {name: WRITES[name] for name in ("succeed", "fail", "finish_canceled", "release")}


def given_job(store: JobStore, **changes: object) -> Job:
    job = make_job(**changes)
    store.create(job)
    return job


def given_lease(store: JobStore, job: Job | None = None) -> Lease:
    """A lease on this job, which must be next; or on a new one that is, being urgent."""
    return claim(store, (job or given_job(store, options=URGENT)).id)


# creating and reading


def test_what_was_created_is_read_back(store: JobStore) -> None:
    options = JobOptions(
        sync_mode=SyncMode.BOUNCE,
        seed=2**63 - 1,
        num_inference_steps=7,
        guidance_scale=0.1,
        face=FaceAt(x=1.0, y=2.5, time_s=0.1),
    )
    metadata = {"": [], "deep": {"a": [1, 2.5, None, True, {}]}, "text": "ü\u2028\n\x00'\"", "half": "\ud800"}
    job = given_job(store, options=options, metadata=metadata, webhook_url="https://hooks.org/x?sealed=gAAA-_=")

    assert store.get(job.id) == job


def test_creating_again_changes_nothing(store: JobStore) -> None:
    job = given_job(store)
    given_lease(store, job)

    store.create(job)

    assert store.get(job.id).status is JobStatus.RUNNING
    assert store.stats().depth == 0


def test_an_unknown_job_is_not_found(store: JobStore) -> None:
    for call in (store.get, store.request_cancel, store.delete):
        with pytest.raises(JobNotFound):
            call(JobId("nobody"))


def test_the_store_answers_pings(store: JobStore) -> None:
    store.ping()


# claiming


def test_a_claim_starts_the_first_attempt(store: JobStore) -> None:
    job = given_job(store)

    lease = store.claim_next("worker-1")

    assert lease is not None
    assert lease.job.id == job.id
    assert lease.job == store.get(job.id)
    assert (lease.token, lease.worker_id) == (1, "worker-1")
    assert (lease.job.status, lease.job.attempts, lease.job.worker_id) == (JobStatus.RUNNING, 1, "worker-1")
    assert lease.job.started_at is not None
    assert abs(lease.job.started_at - datetime.now(UTC)) < timedelta(seconds=5)


def test_only_one_of_twenty_threads_gets_the_lease(store: JobStore) -> None:
    job = given_job(store)

    with ThreadPoolExecutor(20) as pool:
        leases = list(pool.map(lambda number: store.claim_next(f"worker-{number}"), range(20)))

    (winner,) = [lease for lease in leases if lease]
    assert store.get(job.id).worker_id == winner.worker_id
    assert store.get(job.id).attempts == 1


def test_a_job_that_is_over_or_gone_cannot_be_claimed(store: JobStore) -> None:
    canceled, purged = given_job(store), given_job(store)
    for job in (canceled, purged):
        store.request_cancel(job.id)
    store.delete(purged.id)
    failed = given_lease(store)
    store.fail(failed, FAILURE)

    assert store.claim_next("worker-1") is None


def test_a_silent_worker_keeps_its_job_until_it_is_taken_away(house: House) -> None:
    lease = given_lease(house.store)
    house.lose_worker()

    assert house.store.claim_next("worker-2") is None
    house.store.renew(lease)
    assert house.store.recover_lost(3) == ()


# working under a lease


def test_a_preflight_is_shown_and_stays_when_the_attempt_does_not(store: JobStore) -> None:
    lease = given_lease(store)
    store.report_preflight(lease, PREFLIGHT)
    assert store.get(lease.job.id).preflight == PREFLIGHT
    store.release(lease)
    assert store.get(lease.job.id).preflight == PREFLIGHT


def test_a_job_may_succeed_without_a_result(store: JobStore) -> None:
    lease = given_lease(store)
    store.succeed(lease, None)
    store.succeed(lease, None)
    job = store.get(lease.job.id)
    assert (job.status, job.result) == (JobStatus.SUCCEEDED, None)


def test_progress_is_visible(store: JobStore) -> None:
    lease = given_lease(store)
    store.report_progress(lease, HALFWAY)
    assert store.get(lease.job.id).progress == HALFWAY


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_fenced_off_worker_writes_nothing(house: House, write: Callable[[JobStore, Lease], object]) -> None:
    old = given_lease(house.store)
    house.lose_worker()
    house.store.recover_lost(3)
    new = claim(house.store, old.job.id, "worker-2")
    before = house.store.get(old.job.id)

    with pytest.raises(LeaseLost):
        write(house.store, old)

    assert house.store.get(old.job.id) == before
    assert new.token == 2
    house.store.succeed(new, RESULT)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_lease_on_a_purged_job_is_lost(store: JobStore, write: Callable[[JobStore, Lease], object]) -> None:
    lease = given_lease(store)
    store.succeed(lease, RESULT)
    store.delete(lease.job.id)
    with pytest.raises(LeaseLost):
        write(store, lease)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_job_taken_away_but_not_taken_over_is_lost_too(
    house: House, write: Callable[[JobStore, Lease], object]
) -> None:
    lease = given_lease(house.store)
    house.lose_worker()
    house.store.recover_lost(3)
    if write is WRITES["release"]:
        write(house.store, lease)  # handing back what is back already: a repeat
    else:
        with pytest.raises(LeaseLost):
            write(house.store, lease)
    assert house.store.get(lease.job.id).status is JobStatus.QUEUED


# ending


def test_success_keeps_the_result_and_the_times(store: JobStore) -> None:
    lease = given_lease(store)
    store.succeed(lease, RESULT)

    job = store.get(lease.job.id)
    assert (job.status, job.result, job.error) == (JobStatus.SUCCEEDED, RESULT, None)
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.finished_at >= job.started_at


def test_failure_keeps_the_reason(store: JobStore) -> None:
    lease = given_lease(store)
    store.fail(lease, FAILURE)

    job = store.get(lease.job.id)
    assert (job.status, job.result, job.error) == (JobStatus.FAILED, None, FAILURE)
    assert job.finished_at is not None


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_ending_twice_the_same_way_is_harmless(store: JobStore, end: Callable[[JobStore, Lease], object]) -> None:
    lease = given_lease(store)
    end(store, lease)
    once = store.get(lease.job.id)
    end(store, lease)
    assert store.get(lease.job.id) == once


def test_what_is_over_stays_as_it_is(store: JobStore) -> None:
    lease = given_lease(store)
    store.succeed(lease, RESULT)
    over = store.get(lease.job.id)

    for name in ("renew", "report_progress", "report_preflight", "fail", "finish_canceled", "release"):
        with pytest.raises(LeaseLost):
            WRITES[name](store, lease)

    assert store.request_cancel(lease.job.id) == over


def test_a_released_job_waits_again_and_nothing_counts_as_lost(store: JobStore) -> None:
    first = given_lease(store)
    store.report_progress(first, HALFWAY)

    store.release(first)

    waiting = store.get(first.job.id)
    assert (waiting.status, waiting.lost_attempts, waiting.progress) == (JobStatus.QUEUED, 0, None)
    second = given_lease(store, waiting)
    assert second.token == 2
    assert second.job.started_at == first.job.started_at


def test_success_forgets_what_the_inputs_were_sealed_with(store: JobStore) -> None:
    sealed: dict[str, Any] = {
        "video_url": "https://v.org/a.mp4?sealed=gA-_=",
        "audio_url": "https://v.org/b.wav?sealed=gB-_=",
    }
    segment = {"start_s": 0, "end_s": 1, "audio_url": "https://v.org/c.wav?sealed=gD-_="}
    sealed["options"] = JobOptions.model_validate({"segments": [segment]})
    done = given_lease(store, given_job(store, **sealed, webhook_url="https://hooks.org/x?sealed=gC-_="))
    failed = given_lease(store, given_job(store, **sealed))

    store.succeed(done, RESULT)
    store.fail(failed, FAILURE)

    job = store.get(done.job.id)
    assert (job.video_url, job.audio_url) == ("https://v.org/a.mp4", "https://v.org/b.wav")
    assert job.options.segments[0].audio_url == "https://v.org/c.wav"
    assert job.webhook_url == "https://hooks.org/x?sealed=gC-_="  # its end is still to be told
    assert store.get(failed.job.id).video_url == sealed["video_url"]  # it may be tried again
    assert store.get(failed.job.id).options == sealed["options"]


# canceling


def test_a_queued_job_is_canceled_at_once(store: JobStore) -> None:
    job = store.request_cancel(given_job(store).id)

    assert job.status is JobStatus.CANCELED
    assert job.cancel_requested_at is not None
    assert job.finished_at is not None
    assert store.stats().depth == 0
    assert store.request_cancel(job.id) == job


def test_a_running_job_is_told_to_stop(store: JobStore) -> None:
    lease = given_lease(store)
    assert not store.renew(lease).cancel_requested

    job = store.request_cancel(lease.job.id)

    assert (job.status, job.cancel_requested) == (JobStatus.RUNNING, True)
    assert store.request_cancel(job.id) == job, "the first request counts"
    assert store.renew(lease).cancel_requested
    store.finish_canceled(lease)
    assert store.get(job.id).status is JobStatus.CANCELED


def test_a_job_to_be_canceled_is_not_queued_again(store: JobStore) -> None:
    lease = given_lease(store)
    store.request_cancel(lease.job.id)
    store.release(lease)
    assert store.get(lease.job.id).status is JobStatus.CANCELED


# purging


def test_a_purged_job_is_gone_everywhere(store: JobStore) -> None:
    job = store.request_cancel(given_job(store).id)

    store.delete(job.id)

    with pytest.raises(JobNotFound):
        store.get(job.id)
    assert store.list().jobs == store.list(JobStatus.CANCELED).jobs == ()
    assert sum(store.stats().by_status.values()) == 0


def test_only_what_is_over_can_be_purged(store: JobStore) -> None:
    queued, lease = given_job(store), given_lease(store)
    for job_id in (queued.id, lease.job.id):
        with pytest.raises(ValueError, match="not over"):
            store.delete(job_id)
        assert store.get(job_id).id == job_id


# listing


def test_pages_show_every_job_once_newest_first(store: JobStore) -> None:
    ids = sorted((given_job(store).id for _ in range(7)), reverse=True)

    for limit in (1, 2, 3, 6, 7, 8):
        seen: list[JobId] = []
        page = store.list(limit=limit)
        while page.next_cursor:
            seen += [job.id for job in page.jobs]
            page = store.list(cursor=page.next_cursor, limit=limit)
        assert [*seen, *(job.id for job in page.jobs)] == ids


def test_a_cursor_survives_jobs_that_come_change_and_go(store: JobStore) -> None:
    jobs = sorted((given_job(store) for _ in range(6)), key=lambda job: job.id, reverse=True)
    page = store.list(limit=2)

    time.sleep(0.002)  # ids sort by milliseconds
    given_job(store)
    store.request_cancel(jobs[4].id)
    for gone in (jobs[1], jobs[3]):  # one of them is the cursor itself
        store.request_cancel(gone.id)
        store.delete(gone.id)

    rest = store.list(cursor=page.next_cursor)
    assert [job.id for job in rest.jobs] == [jobs[2].id, jobs[4].id, jobs[5].id]


def test_jobs_are_listed_by_status(store: JobStore) -> None:
    queued, lease = given_job(store), given_lease(store)
    assert lease.job.id != queued.id

    assert [job.id for job in store.list(JobStatus.QUEUED).jobs] == [queued.id]
    assert [job.id for job in store.list(JobStatus.RUNNING).jobs] == [lease.job.id]
    assert store.list(JobStatus.FAILED).jobs == ()


# the state of the queue


def test_stats_count_states_and_the_oldest_wait(house: House) -> None:
    assert house.store.stats().oldest_age_s == 0
    first = given_job(house.store)
    house.let_pass(100)
    given_job(house.store)

    stats = house.store.stats()
    assert (stats.depth, stats.by_status[JobStatus.QUEUED]) == (2, 2)
    assert stats.oldest_age_s == pytest.approx(100, abs=5)

    given_lease(house.store, first)
    stats = house.store.stats()
    assert (stats.depth, stats.by_status[JobStatus.RUNNING]) == (1, 1)
    assert stats.oldest_age_s < 5


# attempts


def test_every_attempt_is_kept_with_its_outcome(house: House) -> None:
    store, job = house.store, given_job(house.store)
    store.release(given_lease(store, job))
    given_lease(store, job)
    house.lose_worker()
    store.recover_lost(3)
    running = claim(store, job.id, "worker-2")
    assert [attempt.outcome for attempt in running.job.attempt_log] == ["released", "lost", None]

    store.succeed(running, RESULT, {"fetch": 0.5, "denoise": 61.25})

    done = store.get(job.id)
    assert [(a.number, a.worker, a.outcome) for a in done.attempt_log] == [
        (1, "worker-1", "released"),
        (2, "worker-1", "lost"),
        (3, "worker-2", "succeeded"),
    ]
    for attempt in done.attempt_log:
        assert attempt.ended_at is not None
        assert attempt.ended_at >= attempt.started_at
    assert done.started_at == done.attempt_log[0].started_at
    assert done.timings == {"fetch": 0.5, "denoise": 61.25}


@pytest.mark.parametrize(
    ("end", "outcome"), [("succeed", "succeeded"), ("fail", "failed"), ("finish_canceled", "canceled")]
)
def test_an_attempt_ends_as_its_job_does(store: JobStore, end: str, outcome: str) -> None:
    lease = given_lease(store)
    ENDS[end](store, lease)
    (attempt,) = store.get(lease.job.id).attempt_log
    assert attempt.outcome == outcome


def test_the_last_loss_is_a_loss_though_the_job_fails_or_is_canceled(house: House) -> None:
    failed, canceled = given_lease(house.store), given_lease(house.store)
    house.store.request_cancel(canceled.job.id)
    house.lose_worker()
    jobs = house.store.recover_lost(1)
    assert {job.status for job in jobs} == {JobStatus.FAILED, JobStatus.CANCELED}
    assert [attempt.outcome for job in jobs for attempt in job.attempt_log] == ["lost", "lost"]
    assert {job.id for job in jobs} == {failed.job.id, canceled.job.id}


# what lies ahead


def test_the_latest_runs_of_a_kind_tell_how_long_the_next_one_may_take(store: JobStore) -> None:
    look, render = given_job(store, options=JobOptions(preflight_only=True)), make_job()
    assert store.outlook(render) == Outlook(position=None, running=0, run_seconds=())
    started = time.monotonic()
    store.succeed(given_lease(store, look), None)
    for _ in range(RUNS_KEPT + 1):
        store.succeed(given_lease(store), RESULT)

    looks, renders = store.outlook(look).run_seconds, store.outlook(render).run_seconds
    assert (len(looks), len(renders)) == (1, RUNS_KEPT)
    assert min(looks + renders) >= 0
    assert sum(looks + renders) <= time.monotonic() - started + 1


def test_only_a_first_attempt_that_succeeds_counts_as_a_run(store: JobStore) -> None:
    again = given_lease(store)
    store.release(again)
    store.succeed(given_lease(store, again.job), RESULT)
    store.fail(given_lease(store), FAILURE)
    running = given_lease(store)
    waiting = given_job(store)

    assert store.outlook(waiting) == Outlook(position=1, running=1, run_seconds=())
    assert store.outlook(running.job) == Outlook(position=None, running=1, run_seconds=())


# deadlines


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_nothing_expires_before_its_time(house: House) -> None:
    given_job(house.store, start_deadline_at=in_seconds(100), deadline_at=in_seconds(200))
    given_job(house.store)
    house.let_pass(90)
    assert house.store.expire_overdue() == ()


@pytest.mark.parametrize("deadline", ["start_deadline_at", "deadline_at"])
def test_a_job_that_waits_too_long_expires(house: House, deadline: str) -> None:
    job = given_job(house.store, **{deadline: in_seconds(100)})
    house.let_pass(101)

    assert house.store.claim_next("worker-1") is None, "too late to start"
    (expired,) = house.store.expire_overdue()

    assert expired == house.store.get(job.id)
    assert (expired.status, expired.attempt_log) == (JobStatus.EXPIRED, ())
    assert expired.error is not None
    assert (expired.error.code, expired.error.retryable) == (ErrorCode.DEADLINE_EXCEEDED, True)
    assert expired.finished_at is not None
    assert house.store.stats().depth == 0
    assert house.store.expire_overdue() == ()


def test_a_start_in_time_is_enough_for_the_start_deadline(house: House) -> None:
    job = given_job(house.store, start_deadline_at=in_seconds(100))
    lease = given_lease(house.store, job)
    house.let_pass(101)
    assert house.store.expire_overdue() == ()
    house.store.release(lease)
    assert house.store.expire_overdue() == (), "what was started once does not wait for its first start"
    claim(house.store, job.id)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_running_job_that_expires_loses_its_lease(house: House, write: Callable[[JobStore, Lease], object]) -> None:
    lease = given_lease(house.store, given_job(house.store, deadline_at=in_seconds(100)))
    house.let_pass(101)

    (expired,) = house.store.expire_overdue()

    assert (expired.status, expired.result) == (JobStatus.EXPIRED, None)
    assert [attempt.outcome for attempt in expired.attempt_log] == ["expired"]
    with pytest.raises(LeaseLost):
        write(house.store, lease)
    house.lose_worker()
    assert house.store.recover_lost(3) == ()
    assert house.store.get(lease.job.id) == expired


def test_a_job_done_in_time_does_not_expire(house: House) -> None:
    lease = given_lease(house.store, given_job(house.store, deadline_at=in_seconds(100)))
    house.store.succeed(lease, RESULT)
    canceled = given_job(house.store, start_deadline_at=in_seconds(100), deadline_at=in_seconds(100))
    house.store.request_cancel(canceled.id)
    house.let_pass(101)
    assert house.store.expire_overdue() == ()


# the history


def told(store: JobStore, job_id: JobId, after: str | None = None) -> list[str]:
    return [event.type.value for event in store.history(job_id, after)]


def test_the_history_tells_what_happened_in_order(house: House) -> None:
    store, job = house.store, given_job(house.store)
    store.release(given_lease(store, job))
    given_lease(store, job)
    house.lose_worker()
    store.recover_lost(3)
    lease = given_lease(store, job)
    store.report_progress(lease, HALFWAY)
    store.succeed(lease, RESULT)

    events = store.history(job.id)

    happened = ["created", "started", "requeued", "started", "requeued", "started", "progress", "succeeded"]
    assert [event.type for event in events] == happened
    assert [event.attempt for event in events] == [0, 1, 1, 2, 2, 3, 3, 3]
    assert [event.progress for event in events] == [*[None] * 6, HALFWAY, None]
    positions = [event_position(event.id) for event in events]
    assert positions == sorted(set(positions))
    assert {event.job_id for event in events} == {job.id}
    assert abs(events[0].at - job.created_at) < timedelta(seconds=5)
    assert events[-1].type.status is store.get(job.id).status


def test_the_history_is_read_from_behind_any_event_on(store: JobStore) -> None:
    lease = given_lease(store)
    store.succeed(lease, RESULT)
    events = store.history(lease.job.id)
    for seen, event in enumerate(events, 1):
        assert store.history(lease.job.id, event.id) == events[seen:]
    assert store.history(lease.job.id, "0-1") == events


def test_of_progress_only_the_latest_is_kept_and_its_successor_found(store: JobStore) -> None:
    lease = given_lease(store)
    store.report_progress(lease, HALFWAY)
    forgotten = store.history(lease.job.id)[-1]
    for step in range(51, 100):
        store.report_progress(lease, HALFWAY.model_copy(update={"frames_done": step}))

    assert told(store, lease.job.id) == ["created", "started", "progress"]
    (latest,) = store.history(lease.job.id, forgotten.id)
    assert latest.progress is not None
    assert latest.progress.frames_done == 99


@pytest.mark.parametrize(
    ("how", "last"), [("fail", "failed"), ("finish_canceled", "canceled"), ("succeed", "succeeded")]
)
def test_every_end_is_told_once(store: JobStore, how: str, last: str) -> None:
    lease = given_lease(store)
    ENDS[how](store, lease)
    ENDS[how](store, lease)
    assert told(store, lease.job.id) == ["created", "started", last]


def test_the_end_of_a_waiting_job_is_told(house: House) -> None:
    canceled, expired = given_job(house.store), given_job(house.store, deadline_at=in_seconds(10))
    house.store.create(canceled)
    for _ in range(2):
        house.store.request_cancel(canceled.id)
    house.let_pass(11)
    house.store.expire_overdue()
    assert told(house.store, canceled.id) == ["created", "canceled"]
    assert told(house.store, expired.id) == ["created", "expired"]


def test_the_history_is_purged_with_its_job(store: JobStore) -> None:
    job = store.request_cancel(given_job(store).id)
    store.delete(job.id)
    with pytest.raises(JobNotFound):
        store.history(job.id)


def test_a_feed_tells_of_all_jobs_from_its_first_call_on(store: JobStore) -> None:
    old, feed = given_lease(store), store.changes()
    assert feed.wait(0) == ()
    store.report_progress(old, HALFWAY)
    new = given_job(store)

    seen = feed.wait(5)
    while len(seen) < 2:
        seen += feed.wait(5)

    assert [(event.job_id, event.type.value) for event in seen] == [(old.job.id, "progress"), (new.id, "created")]
    assert seen == (store.history(old.job.id)[-1], *store.history(new.id))
    assert feed.wait(0.01) == ()


def test_a_feed_wakes_who_waits(store: JobStore) -> None:
    feed, job = store.changes(), given_job(store)
    feed.wait(0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: next(seen for _ in range(100) if (seen := feed.wait(0.5))))
        store.request_cancel(job.id)
        (event,) = waiting.result(30)
    assert event.type.value == "canceled"


# recovering what crashes leave behind


def test_a_job_with_a_living_worker_is_left_alone(house: House) -> None:
    lease = given_lease(house.store)
    house.let_pass(LEASE_TTL_S * 0.7)
    house.store.renew(lease)
    house.let_pass(LEASE_TTL_S * 0.7)
    assert house.store.recover_lost(3) == ()


def test_a_lost_job_waits_again_and_the_loss_is_counted(house: House) -> None:
    lease = given_lease(house.store)
    house.store.report_progress(lease, HALFWAY)
    house.lose_worker()

    (job,) = house.store.recover_lost(3)

    assert job == house.store.get(lease.job.id)
    assert (job.status, job.attempts, job.lost_attempts, job.progress) == (JobStatus.QUEUED, 1, 1, None)
    assert house.store.recover_lost(3) == ()


def test_the_third_loss_is_the_last(house: House) -> None:
    job = given_job(house.store)
    for _ in range(3):
        given_lease(house.store, job)
        house.lose_worker()
        (job,) = house.store.recover_lost(3)

    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == (ErrorCode.WORKER_LOST, True)
    assert (job.attempts, job.lost_attempts) == (3, 3)


def test_a_lost_job_that_was_to_be_canceled_is_canceled(house: House) -> None:
    lease = given_lease(house.store)
    house.store.request_cancel(lease.job.id)
    house.lose_worker()
    (job,) = house.store.recover_lost(3)
    assert job.status is JobStatus.CANCELED


def test_only_old_announcements_are_taken_and_only_once(house: House) -> None:
    old = given_job(house.store)
    started = given_lease(house.store)
    house.let_pass(100)
    new = given_job(house.store)

    assert house.store.take_unannounced(50, 10) == (old.id,)
    assert house.store.take_unannounced(50, 10) == ()
    house.let_pass(100)
    some, rest = house.store.take_unannounced(50, 1), house.store.take_unannounced(50, 10)
    assert len(some) == 1
    assert sorted(some + rest) == sorted((old.id, new.id))
    assert house.store.get(started.job.id).status is JobStatus.RUNNING


# one at a time


def test_one_at_a_time_is_alone(store: JobStore) -> None:
    with store.exclusive("tidy", 5) as first, store.exclusive("tidy", 5) as second, store.exclusive("else", 5) as third:
        assert (first, second, third) == (True, False, True)
    with store.exclusive("tidy", 5) as again:
        assert again


def test_who_took_too_long_does_not_let_a_third_one_in(house: House) -> None:
    with house.store.exclusive("tidy", 5) as slow:
        house.let_pass(6)
        with house.store.exclusive("tidy", 5) as second:
            with pytest.raises(RuntimeError), house.store.exclusive("tidy", 5):
                raise RuntimeError
            assert (slow, second) == (True, True)
            with house.store.exclusive("tidy", 5) as third:
                assert not third


# purging


def test_a_job_is_due_to_be_purged_its_retention_after_its_end(house: House) -> None:
    kept, short, long, runs = (given_job(house.store, retention_s=s) for s in (None, 10.0, 100.0, 10.0))
    for job in (kept, short, long):
        house.store.succeed(given_lease(house.store, job), RESULT)
    given_lease(house.store, runs)
    assert house.store.take_purge_due(60.0, 10) == ()

    house.let_pass(11.0)

    assert house.store.take_purge_due(60.0, 10) == (house.store.get(short.id),)
    assert house.store.take_purge_due(60.0, 10) == ()
    house.let_pass(90.0)
    assert {job.id for job in house.store.take_purge_due(60.0, 10)} == {short.id, long.id}


def test_no_more_jobs_are_taken_than_asked_for_and_none_that_is_gone(house: House) -> None:
    jobs = [given_job(house.store, retention_s=1.0) for _ in range(5)]
    for job in jobs:
        house.store.request_cancel(job.id)
    house.store.delete(jobs[0].id)
    house.let_pass(2.0)

    assert [len(house.store.take_purge_due(60.0, 3)) for _ in range(3)] == [3, 1, 0]
