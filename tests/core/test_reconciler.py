"""Whatever crashes leave behind, one pass puts it right: with a real store, and with its fake."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import ErrorCode, QueueUnavailable
from core.job_store import Lease
from core.jobs import Job, JobId, JobStatus
from core.metrics import DEADLINE_EXPIRED
from core.queue import MemoryJobQueue
from core.reconciler import ANNOUNCE_GRACE_S, ReconcileReport, announce_missing, reconcile
from tests.core.houses import RESULT, House, make_job


@dataclass
class Service:
    """A store, a queue, and what the API and the workers do with them."""

    house: House
    queue: MemoryJobQueue

    def accept(self, **changes: object) -> Job:
        job = make_job(**changes)
        self.house.store.create(job)
        self.queue.enqueue(job.id)
        return job

    def work(self) -> Lease | None:
        """A worker takes the next message."""
        return self.house.store.claim_next("worker") if self.queue.take() else None

    def get(self, job: Job) -> Job:
        return self.house.store.get(job.id)

    def reconcile(self) -> ReconcileReport:
        return reconcile(self.house.store, self.queue, max_lost_attempts=3)

    def wait_for_grace(self) -> None:
        self.house.let_pass(ANNOUNCE_GRACE_S + 1)


@pytest.fixture
def service(house: House) -> Service:
    return Service(house, MemoryJobQueue())


def test_in_a_healthy_house_nothing_is_done(service: Service) -> None:
    service.accept()
    service.accept()
    lease = service.work()
    service.wait_for_grace()
    assert lease is not None
    service.house.store.renew(lease)

    assert service.reconcile() == ReconcileReport()
    assert service.queue.waiting() == 1


def test_a_job_whose_message_was_never_sent_is_announced(service: Service) -> None:
    job = make_job()
    service.house.store.create(job)

    assert service.reconcile() == ReconcileReport()  # its message may still be on its way
    service.wait_for_grace()
    assert service.reconcile().announced == (job.id,)

    lease = service.work()
    assert lease is not None
    assert lease.job.id == job.id


def test_a_job_whose_message_was_lost_with_its_worker_is_announced(service: Service) -> None:
    job = service.accept()
    service.queue.take()  # and the worker dies before it claims the job
    service.wait_for_grace()
    assert service.reconcile().announced == (job.id,)


def test_a_long_queue_is_not_announced_over_and_over(service: Service) -> None:
    """Given more jobs than workers, when they wait for hours, each keeps its one message."""
    for _ in range(10):
        service.accept()
    for _ in range(20):
        service.wait_for_grace()
        assert service.reconcile() == ReconcileReport()
    assert service.queue.waiting() == 10


def test_a_message_that_is_missing_in_a_long_queue_comes_back(service: Service) -> None:
    jobs = {service.accept().id for _ in range(5)}
    service.queue.take()
    service.wait_for_grace()
    service.reconcile()
    started = set()
    while service.queue.waiting():
        if lease := service.work():
            started.add(lease.job.id)
    assert started == jobs


def test_a_tenant_without_room_is_announced_when_it_has_room_again(service: Service) -> None:
    """Given messages that came while there was no room, when a job ends, exactly as many come back as are needed."""
    service.house.store.limit_running("local", 1)
    jobs = [service.accept() for _ in range(3)]
    lease = service.work()
    assert (service.work(), service.work()) == (None, None)
    service.wait_for_grace()
    assert lease is not None
    service.house.store.renew(lease)
    assert service.reconcile() == ReconcileReport()  # there is nothing to start, so nobody is called

    for job in jobs[1:]:
        service.house.store.succeed(lease, RESULT)
        assert len(announce_missing(service.house.store, service.queue)) == 1
        assert announce_missing(service.house.store, service.queue) == ()
        lease = service.work()
        assert lease is not None
        assert lease.job.id == job.id
    assert service.queue.waiting() == 0


def test_a_place_that_nobody_announced_is_found_by_the_next_pass(service: Service) -> None:
    """Given a worker that crashed between the end of a job and its message, or an operator who raised a limit."""
    service.house.store.limit_running("local", 1)
    for _ in range(5):
        service.accept()
    lease = service.work()
    assert lease is not None
    while service.queue.waiting():
        assert service.work() is None
    service.house.store.limit_running("local", 3)
    service.wait_for_grace()
    service.house.store.renew(lease)

    assert len(service.reconcile().announced) == 2
    assert service.work() is not None
    assert service.work() is not None
    assert service.queue.waiting() == 0


def test_second_messages_start_nothing_twice(service: Service) -> None:
    job = service.accept()
    service.queue.enqueue(job.id)
    assert service.work() is not None
    assert service.work() is None


def test_a_job_of_a_dead_worker_runs_again(service: Service) -> None:
    job = service.accept()
    first = service.work()
    service.house.lose_worker()

    report = service.reconcile()

    assert (report.recovered, report.announced, report.ended) == ((service.get(job),), (job.id,), ())
    second = service.work()
    assert first is not None
    assert second is not None
    assert second.token == first.token + 1


def test_three_dead_workers_are_enough(service: Service) -> None:
    job = service.accept()
    for _ in range(3):
        assert service.work() is not None
        service.house.lose_worker()
        report = service.reconcile()

    (lost,) = report.ended
    assert (lost.id, lost.status) == (job.id, JobStatus.FAILED)
    assert lost.error is not None
    assert lost.error.code is ErrorCode.WORKER_LOST
    assert service.queue.waiting() == 0


def test_shutdowns_do_not_count_against_a_job(service: Service) -> None:
    job = service.accept()
    for _ in range(5):
        lease = service.work()
        assert lease is not None
        service.house.store.release(lease)
        service.queue.enqueue(job.id)  # Celery hands its message back, too
    assert service.get(job).status is JobStatus.QUEUED


def test_a_dead_workers_job_that_was_to_be_canceled_is_canceled(service: Service) -> None:
    job = service.accept()
    service.work()
    service.house.store.request_cancel(job.id)
    service.house.lose_worker()

    report = service.reconcile()

    assert [ended.status for ended in report.ended] == [JobStatus.CANCELED]
    assert report.announced == ()


def test_overdue_jobs_expire_and_are_counted_by_where_they_were(service: Service) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    running, queued = service.accept(deadline_at=soon), service.accept(start_deadline_at=soon)
    service.work()
    before = [DEADLINE_EXPIRED.labels(phase)._value.get() for phase in ("running", "queued")]
    service.house.let_pass(101)

    report = service.reconcile()

    assert report.ended == report.expired
    assert {job.id: job.status for job in report.expired} == dict.fromkeys((running.id, queued.id), JobStatus.EXPIRED)
    assert (report.recovered, report.announced) == ((), ())
    assert [DEADLINE_EXPIRED.labels(phase)._value.get() for phase in ("running", "queued")] == [n + 1 for n in before]
    assert service.work() is None


def test_one_pass_at_a_time(service: Service) -> None:
    service.accept()
    service.work()
    service.house.lose_worker()
    with service.house.store.exclusive("reconcile", 30):
        assert service.reconcile() == ReconcileReport()
    assert len(service.reconcile().recovered) == 1


class AbsentQueue(MemoryJobQueue):
    """A queue that takes no messages for now."""

    def enqueue(self, job_id: JobId) -> None:
        raise QueueUnavailable("Nobody is there.")


def test_a_pass_that_could_not_send_leaves_its_work_to_the_next(service: Service) -> None:
    job = service.accept()
    service.work()
    service.house.lose_worker()
    present, service.queue = service.queue, AbsentQueue()
    with pytest.raises(QueueUnavailable):
        service.reconcile()

    service.queue = present
    service.wait_for_grace()
    assert service.reconcile().announced == (job.id,)
