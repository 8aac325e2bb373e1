"""Estimates: as early as there is a basis, never before, and consistent with each other."""

from datetime import UTC, datetime, timedelta

import pytest

from core.eta import expect_end
from core.job_store import Outlook
from core.jobs import AttemptRecord, Job, JobOptions, JobStatus, Progress
from tests.core.houses import PREFLIGHT, make_job

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RUNS = (50.0, 70.0)


def eta_s(job: Job, position: int | None = None, running: int = 0, workers: int = 1) -> float:
    eta = expect_end(job, Outlook(position, running, RUNS), workers, NOW)
    assert eta is not None
    return eta.seconds


def running_job(started_s_ago: float, **changes: object) -> Job:
    attempt = AttemptRecord(number=1, worker="w", started_at=NOW - timedelta(seconds=started_s_ago))
    return make_job(status=JobStatus.RUNNING, attempts=1, attempt_log=(attempt,), **changes)


@pytest.mark.parametrize(
    ("job", "outlook", "workers"),
    [
        (make_job(), Outlook(1, 0, ()), 1),
        (make_job(), Outlook(1, 0, RUNS), 0),
        (make_job(options=JobOptions(preflight_only=True), preflight=PREFLIGHT), Outlook(1, 0, ()), 1),
        (running_job(10), Outlook(None, 1, ()), 1),
        (running_job(61), Outlook(None, 1, RUNS), 1),
        *[(make_job(status=status), Outlook(None, 0, RUNS), 1) for status in JobStatus if status.is_terminal],
    ],
    ids=["no run yet", "no worker", "a look is no render", "nothing tells", "longer than usual", *map(str, range(4))],
)
def test_nothing_is_guessed(job: Job, outlook: Outlook, workers: int) -> None:
    assert expect_end(job, outlook, workers, NOW) is None


def test_with_a_free_worker_a_waiting_job_takes_the_mean_of_the_latest() -> None:
    assert eta_s(make_job(), position=1) == 60
    assert eta_s(make_job(), position=3, running=1, workers=4) == 60


def test_a_waiting_job_waits_for_the_ends_before_it() -> None:
    assert eta_s(make_job(), position=1, running=1) == 30 + 60
    assert eta_s(make_job(), position=2, running=1) == 30 + 60 + 60
    assert eta_s(make_job(), position=2, running=2, workers=2) == 30 / 2 + 60 / 2 + 60


def test_every_place_costs_time_and_every_worker_saves_some() -> None:
    places = [eta_s(make_job(), position=place, running=3, workers=3) for place in range(1, 50)]
    assert places == sorted(set(places))
    crews = [eta_s(make_job(), position=50, running=workers, workers=workers) for workers in range(1, 20)]
    assert crews == sorted(set(crews), reverse=True)


def test_the_analysis_of_its_own_inputs_counts_more_than_other_jobs() -> None:
    assert PREFLIGHT.expected_time is not None
    own = PREFLIGHT.expected_time.seconds
    assert eta_s(make_job(preflight=PREFLIGHT), position=1) == own
    assert eta_s(make_job(preflight=PREFLIGHT), position=1, running=1) == 30 + own
    assert eta_s(running_job(1.0, preflight=PREFLIGHT)) == own - 1.0


def test_a_running_job_tells_by_the_usual_time_and_then_by_its_own_progress() -> None:
    assert eta_s(running_job(20)) == 40
    started = Progress(stage="fetch", fraction=0.01)
    assert eta_s(running_job(20, progress=started)) == 40
    assert eta_s(running_job(20, progress=started.model_copy(update={"eta_s": 300.0}))) == 300


def test_the_basis_is_stated() -> None:
    eta = expect_end(make_job(), Outlook(7, 2, RUNS), 2, NOW)
    assert eta is not None
    assert eta.basis == "the mean of this service's last 2 renders, 60 s each; place 7 in the queue, workers: 2"
