"""What the API shows, as typed and frozen models. A field that a newer service adds is kept in `model_extra`."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class JobStatus(StrEnum):
    """The states of a job: queued → running → succeeded | failed | canceled | expired. A lost one is queued again."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will change this job any more."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class Progress(_View):
    """Where a running job is. `fraction` in [0, 1] over the whole job; `eta_s` in seconds, absent until known."""

    stage: str
    fraction: float
    frames_done: int = 0
    frames_total: int = 0
    eta_s: float | None = None


class Result(_View):
    """The finished video. `url` is valid for a limited time; sizes in px, `fps` in frames per second."""

    url: str
    sha256: str
    bytes: int
    width: int
    height: int
    fps: float
    frames: int
    duration_s: float
    weights: str


class Failure(_View):
    """Why a job failed: `code` is for programs and never changes its meaning."""

    code: str
    message: str
    hint: str
    retryable: bool


class Attempt(_View):
    """One start of the job by a worker, the first being number 1. Without an outcome it runs."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None


class Face(_View):
    """A face through one shot. The option `face` takes its id; sizes are medians in px."""

    id: str
    shot: int
    first_frame: int
    frames: int
    share: float
    width: float
    height: float
    profile_share: float | None
    thumbnail_url: str | None


class Notice(_View):
    """Something that may go wrong, and the ids of the faces it is about."""

    code: str
    message: str
    faces: tuple[str, ...]


class ExpectedTime(_View):
    """How long the render will take once it runs, and what that follows from."""

    seconds: float
    basis: str


class Preflight(_View):
    """What the inputs are, as it was known before anything was rendered. The whole of it is in `model_extra`."""

    frames_with_face: int
    frames_to_render: int
    shots_total: int
    faces: tuple[Face, ...]
    faces_total: int
    warnings: tuple[Notice, ...]
    expected_time: ExpectedTime | None


class AcceptedJob(_View):
    """A job that the service has promised to render."""

    id: str
    status: JobStatus


class Job(AcceptedJob):
    """A job as it is now. All times are UTC; `timings` are seconds per stage. `retry_of` is the job it tries again."""

    retry_of: str | None = None
    batch_id: str | None = None
    created_at: datetime
    start_deadline_at: datetime | None = None
    deadline_at: datetime | None = None
    started_at: datetime | None
    finished_at: datetime | None
    attempts: tuple[Attempt, ...] = ()
    cancel_requested: bool
    video_url: str
    audio_url: str | None
    options: dict[str, Any]
    metadata: dict[str, Any]
    queue_position: int | None = None
    eta_s: float | None = None
    eta_basis: str | None = None
    progress: Progress | None
    preflight: Preflight | None = None
    result: Result | None
    error: Failure | None
    timings: dict[str, float] = Field(default_factory=dict)


class JobPage(_View):
    """Some jobs, newest first. `next_cursor` asks for the following ones; None at the end."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


class Batch(_View):
    """Jobs that were submitted together: how many at first, and how many are in each state now. Over once finished."""

    id: str
    created_at: datetime
    finished_at: datetime | None
    size: int
    counts: dict[JobStatus, int]


class WrongField(_View):
    """What is wrong with a field; in a batch, of which `line` (1 is the first), and the `code` it would have alone."""

    field: str
    reason: str
    line: int | None = None
    code: str | None = None


class BatchCheck(_View):
    """What would be refused of so many jobs."""

    jobs: int
    errors: tuple[WrongField, ...]


class UploadPart(_View):
    """Where to put so many bytes of a file, from behind the parts before."""

    number: int
    url: str
    bytes: int


class UploadTicket(_View):
    """Where and how to put a file, and the id that stands for it in a job. Without a `url` it goes up in `parts`."""

    id: str
    method: str
    url: str | None
    parts: tuple[UploadPart, ...] = ()
    headers: dict[str, str]


class Delivery(_View):
    """One attempt to tell a webhook one event of a job or of a batch. `status` is the receiver's, if it answered."""

    id: str
    job_id: str | None
    batch_id: str | None
    event: str
    message_id: str
    attempt: int
    at: datetime
    outcome: str
    status: int | None
    duration_s: float
    next_attempt_at: datetime | None


class DeliveryPage(_View):
    """The latest deliveries of a job or batch, the last one first."""

    deliveries: tuple[Delivery, ...]


class Replay(_View):
    """An event that is sent again, under the same `message_id`."""

    job_id: str | None
    batch_id: str | None
    event: str
    message_id: str


class WebhookSecret(_View):
    """A new secret, and until when the one before it signs as well; None if there was none."""

    secret: SecretStr
    previous_until: datetime | None
