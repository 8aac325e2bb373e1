"""
What can go wrong, as classes: catch the one you can do something about.

An answer of the API becomes the class of its code, or that of its status where the code is newer than this client. What
the class does not tell, `code` does: docs/errors.md lists them all.
"""

from collections.abc import Mapping
from typing import Any

import httpx

from client.models import Job, JobStatus, WrongField


class ClientError(Exception):
    """Base of everything that this package raises on purpose."""


class Unreachable(ClientError):
    """The service does not answer, or the connection broke and the request must not be repeated unasked."""


class WaitedTooLong(ClientError):
    """The job is not over within the time that was asked for. It goes on; wait again, or cancel it."""


class DownloadDamaged(ClientError):
    """The file that arrived is not the one that the service names: its sha256 differs. Download it again."""


class JobNotOver(ClientError):
    """The job still waits or runs. Cancel it first, or wait for its end."""


class JobNotSucceeded(ClientError):
    """The job is over and has no result. `job` is its last view."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.id} is {job.status}")
        self.job = job


class JobFailed(JobNotSucceeded):
    """The job failed; `failure` says why."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.failure = job.error
        if job.error is not None:
            self.args = (f"{job.error.code}: {job.error.message} {job.error.hint}",)


class JobCanceled(JobNotSucceeded):
    """The job was canceled."""


class JobExpired(JobNotSucceeded):
    """The job missed its deadline."""


class ApiError(ClientError):
    """
    The API refused a request.

    `status` is that of HTTP, `code` the stable name of the reason, `hint` what to do about it. `request_id` is in the
    service's logs. `retry_after_s`, in seconds, is when the service asks to be asked again. `errors` are the fields
    that are wrong, if it is about any.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.status = status
        self.code = str(problem.get("code", "http_error"))
        self.message = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        self.hint = str(problem.get("hint", ""))
        self.retryable = bool(problem.get("retryable", False))
        self.request_id = problem.get("request_id")
        self.retry_after_s = retry_after_s
        self.errors = _wrong_fields(problem)
        super().__init__(f"{self.code}: {self.message} {self.hint}".rstrip())


class InvalidRequest(ApiError):
    """The request is wrong and will stay wrong: change it."""


class InvalidBatch(InvalidRequest):
    """Some jobs of the batch are wrong: `errors` says which, and why. None was made."""


class UploadNotFound(InvalidRequest):
    """No file was PUT for this upload id."""


class NotAllowed(ApiError):
    """The API key is missing, wrong or revoked, or it does not permit this."""


class NotFound(ApiError):
    """There is nothing at this address."""


class JobNotFound(NotFound):
    """No job has this id, or it is another tenant's."""


class BatchNotFound(NotFound):
    """No batch has this id, or it is another tenant's."""


class Conflict(ApiError):
    """The request does not fit the state of things."""


class JobNotCancelable(Conflict):
    """The job is over, and was not canceled."""


class SubmissionUnderWay(Conflict):
    """The same submission, under the same idempotency key, is being answered. Ask again after `retry_after_s`."""


class JobNotRetryable(Conflict):
    """The job is not over, or it has succeeded."""


class LimitReached(ApiError):
    """A limit of this API key: `code` names it. Ask again after `retry_after_s`."""


class ServiceFault(ApiError):
    """A fault on the service's side. Report it with `request_id`."""


class ServiceUnavailable(ServiceFault):
    """The service, or a part of it, is away for the moment. Ask again after `retry_after_s`."""


_BY_CODE: Mapping[str, type[ApiError]] = {
    "invalid_batch": InvalidBatch,
    "batch_not_found": BatchNotFound,
    "upload_not_found": UploadNotFound,
    "job_not_found": JobNotFound,
    "job_not_cancelable": JobNotCancelable,
    "idempotency_key_in_use": SubmissionUnderWay,
    "job_not_retryable": JobNotRetryable,
}

_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    429: LimitReached,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}

_ENDS: Mapping[JobStatus, type[JobNotSucceeded]] = {
    JobStatus.FAILED: JobFailed,
    JobStatus.CANCELED: JobCanceled,
    JobStatus.EXPIRED: JobExpired,
}


def error_class(status: int, code: str) -> type[ApiError]:
    """The class of an answer with this status and code."""
    family = InvalidRequest if status < 500 else ServiceFault
    return _BY_CODE.get(code) or _BY_STATUS.get(status, family)


def raise_for_problem(reply: httpx.Response) -> None:
    """Return when the answer is none of an error; else raise its class. The body has to be read already."""
    if reply.status_code < 400:
        return
    try:
        problem = reply.json()
    except ValueError:  # not ours: a storage or a proxy speaks
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    kind = error_class(reply.status_code, str(problem.get("code")))
    raise kind(reply.status_code, problem, _seconds(reply.headers.get("Retry-After", "")))


def _wrong_fields(problem: Mapping[str, Any]) -> tuple[WrongField, ...]:
    try:
        return tuple(map(WrongField.model_validate, problem.get("errors") or ()))
    except (TypeError, ValueError):  # not ours: a storage or a proxy speaks
        return ()


def raise_unless_succeeded(job: Job) -> None:
    """Return when the job has its result; else raise why it has none."""
    if not job.status.is_terminal:
        raise JobNotOver(f"job {job.id} is {job.status}")
    if job.status is not JobStatus.SUCCEEDED:
        raise _ENDS[job.status](job)


def _seconds(text: str) -> float | None:
    """`Retry-After` in seconds; as a date it is not used by this service."""
    return float(text) if text.isdecimal() else None
