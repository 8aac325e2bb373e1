"""What lies ahead of a job that is not over, for its view: its place in the queue, and when it will be done."""

from datetime import UTC, datetime

from core.eta import expect_end
from core.jobs import Job, JobStatus
from service.jobs.schemas import JobView
from service.services import Services


def with_outlook(view: JobView, job: Job, services: Services) -> JobView:
    """The view of a job with its outlook at this moment. QueueUnavailable."""
    if job.status.is_terminal:
        return view
    outlook = services.store.outlook(job)
    workers = services.workers.count() if job.status is JobStatus.QUEUED else 0
    eta = expect_end(job, outlook, workers, datetime.now(UTC))
    seen = {"queue_position": outlook.position}
    return view.model_copy(update=seen | ({"eta_s": round(eta.seconds, 1), "eta_basis": eta.basis} if eta else {}))
