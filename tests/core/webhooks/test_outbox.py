"""What an outbox promises, for both of them."""

from datetime import UTC, datetime, timedelta

import pytest

from core.batches import Batch, BatchEvent, new_batch_id
from core.errors import ErrorCode
from core.jobs import END_EVENTS, WEBHOOK_EVENTS_IN_ORDER, BatchId, JobFailure, JobId
from core.webhooks import Attempted, DueDelivery, Event, OutboxStats, Outcome
from core.webhooks.outbox import LOG_LENGTH
from tests.core.houses import RESULT, claim, make_job
from tests.core.webhooks.conftest import HOOK, Office

CREATED, STARTED, PROGRESS, SUCCEEDED, FAILED, CANCELED, EXPIRED = WEBHOOK_EVENTS_IN_ORDER
HOLD_S, PAUSE_S = 60, 10


def take(office: Office, limit: int = 10) -> tuple[DueDelivery, ...]:
    return office.outbox.take_due(limit, HOLD_S, PAUSE_S)


def events(office: Office) -> list[Event]:
    """The events that are due now. They are under way afterwards."""
    return [due.event for due in take(office)]


def tried(outcome: Outcome, pause_s: float | None = None, status: int | None = None) -> Attempted:
    return Attempted(datetime.now(UTC), outcome, status, 0.25, pause_s)


def deliver(office: Office) -> list[Event]:
    """Take what is due and record each as delivered."""
    taken = take(office)
    for due in taken:
        office.outbox.record(due, tried(Outcome.DELIVERED, status=204))
    return [due.event for due in taken]


# getting in


def test_every_step_of_a_job_gets_in_by_itself_and_in_order(office: Office) -> None:
    lease = office.running_job()
    assert [deliver(office), deliver(office)] == [[CREATED], [STARTED]]
    office.report(lease, 0.5)
    assert deliver(office) == [PROGRESS]
    office.store.succeed(lease, RESULT)
    assert deliver(office) == [SUCCEEDED]
    office.later(10**6)
    assert deliver(office) == []


def test_every_end_gets_in(office: Office) -> None:
    canceled = office.canceled_job()
    failing = office.running_job(*END_EVENTS)
    assert [(due.about, due.event) for due in take(office)] == [(canceled, CANCELED)]

    office.store.fail(failing, JobFailure.of(ErrorCode.SILENT_AUDIO, "Nothing to hear."))

    assert [(due.about, due.event) for due in take(office)] == [(failing.job.id, FAILED)]

    late = make_job(webhook_url=HOOK, deadline_at=datetime.now(UTC) - timedelta(days=1))
    office.store.create(late)
    office.store.expire_overdue()
    assert [(due.about, due.event) for due in take(office)] == [(late.id, EXPIRED)]


def test_what_the_receiver_does_not_want_stays_out(office: Office) -> None:
    lease = office.running_job(PROGRESS, FAILED)
    office.store.succeed(lease, RESULT)
    office.canceled_job(webhook_url=None)

    assert events(office) == []
    assert office.outbox.stats() == OutboxStats(0, 0.0)


def test_an_event_knows_when_it_happened_and_has_an_id_of_its_own(office: Office) -> None:
    job_id = office.canceled_job()

    (due,) = take(office)

    assert abs(due.happened_at - datetime.now(UTC)) < timedelta(seconds=5)
    assert due == DueDelivery(job_id, CANCELED, 1, due.happened_at, 1)
    assert due.message_id == f"{job_id}-canceled"


def test_a_job_that_is_started_again_is_told_so_under_another_id(office: Office) -> None:
    lease = office.running_job(STARTED)
    (first,) = take(office)
    office.outbox.record(first, tried(Outcome.DELIVERED))
    office.store.release(lease)
    claim(office.store, lease.job.id, "worker-2")

    (second,) = take(office)

    assert (first.message_id, second.message_id) == (f"{lease.job.id}-started", f"{lease.job.id}-started-2")


# coming out


def test_a_delivery_that_vanishes_with_its_process_comes_back_under_the_same_id(office: Office) -> None:
    office.canceled_job()

    (first,) = take(office)
    assert take(office) == ()
    office.later(HOLD_S + 1)
    (second,) = take(office)

    assert (first.attempt, second.attempt) == (1, 2)
    assert first.message_id == second.message_id


def test_a_failed_one_comes_at_its_time(office: Office) -> None:
    office.canceled_job()
    (due,) = take(office)

    office.outbox.record(due, tried(Outcome.REFUSED, pause_s=300, status=500))

    office.later(298)
    assert take(office) == ()
    office.later(3)
    assert [due.attempt for due in take(office)] == [2]


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.BLOCKED, Outcome.REFUSED, Outcome.GONE])
def test_without_a_pause_it_never_comes_again(office: Office, outcome: Outcome) -> None:
    office.canceled_job()
    (due,) = take(office)

    office.outbox.record(due, tried(outcome))
    office.outbox.record(due, tried(Outcome.REFUSED, pause_s=1))  # late news of another process

    office.later(10**6)
    assert take(office) == ()


def test_late_news_of_an_attempt_that_was_made_anew_changes_nothing(office: Office) -> None:
    office.canceled_job()
    (slow,) = take(office)
    office.later(HOLD_S + 1)
    (current,) = take(office)

    office.outbox.record(slow, tried(Outcome.DELIVERED))

    office.later(HOLD_S + 1)
    assert [due.attempt for due in take(office)] == [current.attempt + 1]


def test_no_more_are_taken_than_asked_for(office: Office) -> None:
    jobs = {office.canceled_job() for _ in range(5)}

    first = {due.about for due in take(office, 3)}
    rest = {due.about for due in take(office, 3)}

    assert len(first) == 3
    assert first | rest == jobs


# the order within a job


def test_an_event_waits_for_an_earlier_one_that_is_under_way(office: Office) -> None:
    office.running_job(CREATED, STARTED)

    assert events(office) == [CREATED]
    assert events(office) == []
    office.later(HOLD_S + 1)  # its process has died: it goes first again
    assert events(office) == [CREATED]


def test_an_event_does_not_wait_for_one_that_the_receiver_refuses(office: Office) -> None:
    office.running_job(CREATED, STARTED)
    (created,) = take(office)

    office.outbox.record(created, tried(Outcome.REFUSED, pause_s=300))

    assert deliver(office) == [STARTED]
    office.later(301)
    assert deliver(office) == [CREATED]


def test_other_jobs_are_not_held_up(office: Office) -> None:
    office.running_job(CREATED, STARTED)
    assert events(office) == [CREATED]
    office.canceled_job()
    assert events(office) == [CANCELED]


# progress


def test_progress_comes_at_most_once_in_its_pause_and_then_the_latest(office: Office) -> None:
    lease = office.running_job(PROGRESS)
    office.report(lease, 0.1)
    (first,) = take(office)
    office.outbox.record(first, tried(Outcome.DELIVERED))

    for fraction in (0.2, 0.3, 0.4):
        office.report(lease, fraction)

    assert take(office) == ()
    office.later(PAUSE_S + 1)
    (latest,) = take(office)
    assert (first.message_id, latest.message_id) == (f"{lease.job.id}-progress", f"{lease.job.id}-progress-4")
    office.outbox.record(latest, tried(Outcome.DELIVERED))
    office.later(PAUSE_S + 1)
    assert take(office) == ()


def test_progress_made_during_a_delivery_is_told_after_it(office: Office) -> None:
    lease = office.running_job(PROGRESS)
    office.report(lease, 0.1)
    (first,) = take(office)
    office.report(lease, 0.2)
    office.outbox.record(first, tried(Outcome.DELIVERED))

    office.later(PAUSE_S + 1)

    assert [(due.number, due.attempt) for due in take(office)] == [(2, 1)]


def test_new_progress_does_not_hurry_a_receiver_that_refused_the_last(office: Office) -> None:
    lease = office.running_job(PROGRESS)
    office.report(lease, 0.1)
    (first,) = take(office)
    office.outbox.record(first, tried(Outcome.REFUSED, pause_s=300))

    office.report(lease, 0.2)

    office.later(298)
    assert take(office) == ()
    office.later(3)
    assert [(due.number, due.attempt) for due in take(office)] == [(2, 2)]


def test_progress_is_no_news_after_the_end(office: Office) -> None:
    lease = office.running_job(PROGRESS, SUCCEEDED)
    office.report(lease, 0.1)
    (under_way,) = take(office)
    office.report(lease, 0.2)
    office.store.succeed(lease, RESULT)
    office.outbox.record(under_way, tried(Outcome.REFUSED, pause_s=5))

    assert deliver(office) == [SUCCEEDED]
    office.later(10**6)
    assert deliver(office) == []


def test_the_end_does_not_wait_for_progress_that_waits_for_its_pause(office: Office) -> None:
    lease = office.running_job(PROGRESS, SUCCEEDED)
    office.report(lease, 0.1)
    assert deliver(office) == [PROGRESS]
    office.report(lease, 0.2)
    office.store.succeed(lease, RESULT)

    assert deliver(office) == [SUCCEEDED]


# the end of the line


def test_a_receiver_that_is_gone_hears_nothing_more_of_the_job(office: Office) -> None:
    lease = office.running_job()
    (created,) = take(office)

    office.outbox.record(created, tried(Outcome.GONE, status=410))
    office.store.succeed(lease, RESULT)

    office.later(10**6)
    assert take(office) == ()
    assert office.outbox.stats().backlog == 0


def test_nothing_is_left_of_a_purged_job(office: Office) -> None:
    job_id = office.canceled_job()
    (due,) = take(office)
    office.store.delete(job_id)

    office.outbox.record(due, tried(Outcome.REFUSED, pause_s=5))

    assert office.outbox.deliveries(job_id) == ()
    assert office.outbox.stats().backlog == 0
    office.later(10**6)
    assert take(office) == ()


def test_what_is_dropped_is_not_told(office: Office) -> None:
    job_id = office.canceled_job()
    office.outbox.drop(job_id)
    assert take(office) == ()


# the log


def test_every_attempt_is_in_the_log(office: Office) -> None:
    job_id = office.canceled_job()
    (first,) = take(office)
    office.outbox.record(first, tried(Outcome.REFUSED, pause_s=5, status=503))
    office.later(6)
    (second,) = take(office)
    office.outbox.record(second, tried(Outcome.DELIVERED, status=204))

    latest, earliest = office.outbox.deliveries(job_id)

    assert (earliest.attempt, earliest.outcome, earliest.status) == (1, Outcome.REFUSED, 503)
    assert (latest.attempt, latest.outcome, latest.status) == (2, Outcome.DELIVERED, 204)
    assert earliest.next_attempt_at == earliest.at + timedelta(seconds=5)
    assert latest.next_attempt_at is None
    assert latest.id != earliest.id
    assert latest.message_id == earliest.message_id == first.message_id
    assert latest.id.startswith(f"{job_id}-")


def test_the_log_is_bounded(office: Office) -> None:
    job_id = office.canceled_job()
    for _ in range(LOG_LENGTH + 5):
        (due,) = take(office)
        office.outbox.record(due, tried(Outcome.REFUSED, pause_s=0))

    log = office.outbox.deliveries(job_id)

    assert len(log) == LOG_LENGTH
    assert (log[0].attempt, log[-1].attempt) == (LOG_LENGTH + 5, 6)


def test_an_unknown_job_has_an_empty_log(office: Office) -> None:
    assert office.outbox.deliveries(JobId("nobody")) == ()


# replay


def replayed(office: Office, job_id: JobId) -> DueDelivery:
    office.outbox.replay(office.outbox.deliveries(job_id)[0])
    (due,) = take(office)
    return due


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.BLOCKED, Outcome.GONE])
def test_an_event_can_be_told_again_with_all_its_attempts(office: Office, outcome: Outcome) -> None:
    job_id = office.canceled_job()
    (due,) = take(office)
    office.outbox.record(due, tried(outcome))

    assert replayed(office, job_id) == due


def test_one_that_waits_for_its_next_attempt_comes_at_once(office: Office) -> None:
    job_id = office.canceled_job()
    (due,) = take(office)
    office.outbox.record(due, tried(Outcome.REFUSED, pause_s=86_400))

    assert replayed(office, job_id) == due


def test_one_that_is_under_way_is_left_alone(office: Office) -> None:
    job_id = office.canceled_job()
    (due,) = take(office)
    office.outbox.record(due, tried(Outcome.REFUSED, pause_s=0))
    take(office)

    office.outbox.replay(office.outbox.deliveries(job_id)[0])

    assert take(office) == ()


def test_replayed_progress_keeps_its_number_and_takes_none_from_new_progress(office: Office) -> None:
    lease = office.running_job(PROGRESS)
    for fraction in (0.1, 0.2):
        office.report(lease, fraction)
        deliver(office)
        office.later(PAUSE_S + 1)

    office.outbox.replay(office.outbox.deliveries(lease.job.id)[1])
    (again,) = take(office)
    office.outbox.record(again, tried(Outcome.DELIVERED))
    office.later(PAUSE_S + 1)
    office.report(lease, 0.3)

    assert (again.number, [due.number for due in take(office)]) == (1, [3])


def test_a_purged_job_is_not_told_again(office: Office) -> None:
    job_id = office.canceled_job()
    deliver(office)
    (delivery,) = office.outbox.deliveries(job_id)
    office.store.delete(job_id)

    office.outbox.replay(delivery)

    assert take(office) == ()


# how much there is


def test_the_backlog_counts_all_and_only_what_is_overdue_ages(office: Office) -> None:
    office.canceled_job()
    (due,) = take(office)
    office.outbox.record(due, tried(Outcome.REFUSED, pause_s=300))
    office.canceled_job()
    assert office.outbox.stats().backlog == 2

    office.later(100)
    assert office.outbox.stats().overdue_s == pytest.approx(100, abs=5)
    deliver(office)
    assert office.outbox.stats() == OutboxStats(1, 0.0)


# batches


def batch_of(office: Office, size: int, webhook_url: str | None = HOOK) -> tuple[BatchId, list[JobId]]:
    """A batch whose jobs have no receiver of their own."""
    batch = Batch(id=new_batch_id(), created_at=datetime.now(UTC), size=size, webhook_url=webhook_url)
    jobs = [make_job(batch_id=batch.id) for _ in range(size)]
    office.store.create_batch(batch, jobs)
    return batch.id, [job.id for job in jobs]


def test_a_batch_is_told_of_once_when_its_last_job_is_over(office: Office) -> None:
    batch_id, (first, second) = batch_of(office, 2)
    office.store.request_cancel(first)
    assert take(office) == ()

    office.store.request_cancel(second)
    (due,) = take(office)
    assert due == DueDelivery(batch_id, BatchEvent.COMPLETED, 1, due.happened_at, 1)
    assert due.message_id == f"{batch_id}-completed"
    assert due.happened_at == office.store.get_batch(batch_id).finished_at
    assert office.outbox.stats().backlog == 1


def test_a_batch_without_a_receiver_tells_nothing(office: Office) -> None:
    _, (job_id,) = batch_of(office, 1, webhook_url=None)
    office.store.request_cancel(job_id)
    assert take(office) == ()


def test_the_deliveries_of_a_batch_are_logged_repeated_and_replayed(office: Office) -> None:
    batch_id, (job_id,) = batch_of(office, 1)
    office.store.request_cancel(job_id)
    (due,) = take(office)
    office.outbox.record(due, tried(Outcome.REFUSED, 30.0))
    office.later(31)
    (again,) = take(office)
    office.outbox.record(again, tried(Outcome.DELIVERED))
    assert take(office) == ()

    deliveries = office.outbox.deliveries(batch_id)
    assert [(entry.about, entry.attempt) for entry in deliveries] == [(batch_id, 2), (batch_id, 1)]
    office.outbox.replay(deliveries[0])
    assert [due.message_id for due in take(office)] == [again.message_id]


def test_nothing_is_left_of_a_batch_whose_jobs_are_purged(office: Office) -> None:
    batch_id, (job_id,) = batch_of(office, 1)
    office.store.request_cancel(job_id)
    office.store.delete(job_id)
    assert take(office) == ()
    assert office.outbox.deliveries(batch_id) == ()
    assert office.outbox.stats().backlog == 0
