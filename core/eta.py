"""When a job will be done: an estimate, and what it follows from. Nothing is guessed where there is no basis."""

from dataclasses import dataclass
from datetime import datetime
from statistics import mean

from core.job_store.protocol import Outlook
from core.jobs import Job, JobStatus
from core.preflight import ExpectedTime


@dataclass(frozen=True, slots=True)
class Eta:
    """`seconds` from now until the end of the job. `basis` says in a sentence what the number follows from."""

    seconds: float
    basis: str


def expect_end(job: Job, outlook: Outlook, workers: int, now: datetime) -> Eta | None:
    """
    When the job will be done, with so many workers there. None when it is over, or when nothing tells.

    A running job tells it by its own progress, and before that by the time which its kind usually takes. A waiting job
    has to wait until as many jobs have ended as stand before it, and then takes the usual time itself.
    """
    if job.status is JobStatus.RUNNING:
        return _of_running(job, outlook, now)
    if job.status is JobStatus.QUEUED and outlook.position is not None and workers > 0:
        return _of_waiting(job, outlook, outlook.position, workers)
    return None


def _of_running(job: Job, outlook: Outlook, now: datetime) -> Eta | None:
    if job.progress is not None and job.progress.eta_s is not None:
        return Eta(job.progress.eta_s, "the speed of this attempt so far")
    usual = _usual_time(job, outlook)
    left_s = usual.seconds - (now - job.attempt_log[-1].started_at).total_seconds() if usual else 0.0
    return Eta(left_s, usual.basis) if usual and left_s > 0 else None


def _of_waiting(job: Job, outlook: Outlook, position: int, workers: int) -> Eta | None:
    """Busy workers end one after another, the first of them after half a turn on average."""
    usual = _usual_time(job, outlook)
    if usual is None:
        return None
    must_end = position - max(0, workers - outlook.running)
    if must_end <= 0:
        return Eta(usual.seconds, f"{usual.basis}; a worker is free")
    turn_s = mean(outlook.run_seconds) if outlook.run_seconds else usual.seconds
    wait_s = (must_end - 0.5) * turn_s / workers
    return Eta(wait_s + usual.seconds, f"{usual.basis}; place {position} in the queue, workers: {workers}")


def _usual_time(job: Job, outlook: Outlook) -> ExpectedTime | None:
    """Of one attempt: what the analysis of its own inputs said, or else the mean of the latest jobs of its kind."""
    if job.preflight is not None and job.preflight.expected_time is not None and not job.options.preflight_only:
        return job.preflight.expected_time
    if not outlook.run_seconds:
        return None
    seconds, kind = mean(outlook.run_seconds), "preflights" if job.options.preflight_only else "renders"
    basis = f"the mean of this service's last {len(outlook.run_seconds)} {kind}, {seconds:.3g} s each"
    return ExpectedTime(seconds=seconds, basis=basis)
