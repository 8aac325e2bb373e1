"""What a job is, as data. How it is kept and changed: `core.job_store`."""

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, NewType, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from core.errors import CATALOGUE, ErrorCode
from core.preflight import PreflightReport
from core.private_urls import is_safe_to_keep

JobId = NewType("JobId", str)
BatchId = NewType("BatchId", str)

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u; sorts as its numbers do
_ID_TIME_DIGITS = 10
_ID_RANDOM_DIGITS = 26
JOB_ID_PATTERN = f"^[{_ID_ALPHABET}]{{{_ID_TIME_DIGITS + _ID_RANDOM_DIGITS}}}$"


def new_job_id() -> JobId:
    """An id nobody can guess (128 random bits) and that sorts by its time of creation (48 bits of milliseconds)."""
    milliseconds = time.time_ns() // 1_000_000
    return JobId(_base32(milliseconds, _ID_TIME_DIGITS) + _base32(secrets.randbits(128), _ID_RANDOM_DIGITS))


def _base32(number: int, digits: int) -> str:
    return "".join(_ID_ALPHABET[number >> 5 * place & 31] for place in reversed(range(digits)))


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
        return not TRANSITIONS[self]


TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.CANCELED, JobStatus.EXPIRED}),
        JobStatus.RUNNING: frozenset(
            {JobStatus.QUEUED, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.EXPIRED}
        ),
        JobStatus.SUCCEEDED: frozenset(),
        JobStatus.FAILED: frozenset(),
        JobStatus.CANCELED: frozenset(),
        JobStatus.EXPIRED: frozenset(),
    }
)
"""Which states may follow which. The stores check every change against this table, where the change is stored."""


class WebhookEvent(StrEnum):
    """What a receiver can be told about a job, in the order in which it happens."""

    CREATED = "job.created"
    STARTED = "job.started"
    PROGRESS = "job.progress"
    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"
    EXPIRED = "job.expired"


WEBHOOK_EVENTS_IN_ORDER: tuple[WebhookEvent, ...] = tuple(WebhookEvent)
END_EVENTS: tuple[WebhookEvent, ...] = WEBHOOK_EVENTS_IN_ORDER[3:]
"""What a receiver is told unless it wants otherwise: how the job has ended."""


class SyncMode(StrEnum):
    """What happens when voice and video differ in length."""

    CUT_OFF = "cut_off"
    LOOP = "loop"
    BOUNCE = "bounce"
    SILENCE = "silence"
    HOLD = "hold"


class Priority(StrEnum):
    """Which jobs start first, in this order: all that are `high`, then all that are `normal`, then `low`."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


LOCAL_TENANT = "local"
"""Whose jobs they are when the service knows no API keys."""

TENANT_PATTERN = "^[a-z0-9][a-z0-9-]{0,62}$"

_PREFLIGHT_RANK, _RENDER_RANK = 0, 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FaceAt(_Record):
    """A face named by a point in it."""

    x: float = Field(strict=True, ge=0.0, allow_inf_nan=False, description="px from the left of the upright picture.")
    y: float = Field(strict=True, ge=0.0, allow_inf_nan=False, description="px from its top.")
    time_s: float = Field(strict=True, ge=0.0, allow_inf_nan=False, description="When it is there, s from the start.")


Face = Annotated[
    Annotated[str, Tag("track"), Field(pattern=r"^(auto|s\d{1,7}f\d{1,7})$")] | Annotated[FaceAt, Tag("point")],
    Discriminator(lambda face: "track" if isinstance(face, str) else "point"),
]


class Container(StrEnum):
    """What kind of file the result is."""

    MP4 = "mp4"
    MOV = "mov"


class VideoCodec(StrEnum):
    """How its picture is encoded."""

    H264 = "h264"
    HEVC = "hevc"
    PRORES = "prores"


class AudioCodec(StrEnum):
    """How its sound is encoded."""

    AAC = "aac"
    PCM = "pcm"
    FLAC = "flac"


CODECS: Mapping[Container, tuple[frozenset[VideoCodec], frozenset[AudioCodec]]] = MappingProxyType(
    {
        Container.MP4: (frozenset({VideoCodec.H264, VideoCodec.HEVC}), frozenset({AudioCodec.AAC, AudioCodec.FLAC})),
        Container.MOV: (frozenset(VideoCodec), frozenset({AudioCodec.AAC, AudioCodec.PCM})),
    }
)
"""What each container takes."""


class JobOutput(_Record):
    """How the result is written: one encode, with the source's size, times and colours.

    What a container does not take is refused as ErrorCode.UNSUPPORTED_OUTPUT.
    """

    container: Container = Field(Container.MP4, description="mp4, or mov.")
    codec: VideoCodec = Field(
        VideoCodec.H264, description="h264, hevc; in mov also prores: 422 HQ, or 4444 where a side is odd."
    )
    quality: int | None = Field(
        None, strict=True, ge=0, le=51, description="CRF of h264 and hevc; less is better. By default 14."
    )
    audio_codec: AudioCodec = Field(AudioCodec.AAC, description="aac; in mp4 also flac, in mov also pcm (24 bits).")

    @field_validator("codec", "audio_codec")
    @classmethod
    def _container_takes_it(cls, codec: VideoCodec | AudioCodec, others: ValidationInfo) -> VideoCodec | AudioCodec:
        container = others.data.get("container")
        taken = () if container is None else sorted(frozenset[str]().union(*CODECS[container]))
        if container is not None and codec not in taken:
            raise PydanticCustomError(ErrorCode.UNSUPPORTED_OUTPUT, f"{container} takes {', '.join(taken)}")
        return codec

    @field_validator("quality")
    @classmethod
    def _codec_has_it(cls, quality: int | None, others: ValidationInfo) -> int | None:
        if quality is not None and others.data.get("codec") is VideoCodec.PRORES:
            raise PydanticCustomError(ErrorCode.UNSUPPORTED_OUTPUT, "prores has no quality to choose")
        return quality


MAX_SEGMENTS = 100


class JobSegment(_Record):
    """A part of the video that is dubbed, from the frame nearest to its start to the one nearest to its end.

    One that ends before it starts is refused as ErrorCode.INVALID_SEGMENTS.
    """

    start_s: float = Field(strict=True, ge=0.0, allow_inf_nan=False, description="Seconds from the start of the video.")
    end_s: float = Field(strict=True, ge=0.0, allow_inf_nan=False, description="Seconds from the start of the video.")
    audio_url: str | None = Field(
        None,
        min_length=1,
        description="Its own voice, heard from its start on; else what the job's voice holds at the same times.",
    )
    face: Face | None = Field(None, description="Whose lips move in it; else as in `face` of the options.")

    @field_validator("end_s")
    @classmethod
    def _ends_after_it_starts(cls, end_s: float, others: ValidationInfo) -> float:
        if "start_s" in others.data and end_s <= others.data["start_s"]:
            raise PydanticCustomError(ErrorCode.INVALID_SEGMENTS, "a segment ends after it starts")
        return end_s


class JobOptions(_Record):
    """How to render. The defaults are those of the published model.

    Segments that overlap, or stand beside a sync mode that changes the length, are refused as
    ErrorCode.INVALID_SEGMENTS.
    """

    sync_mode: SyncMode = Field(SyncMode.CUT_OFF, description="What happens when voice and video differ in length.")
    seed: int = Field(
        42, strict=True, ge=0, lt=2**63, description="Seed of the initial noise; the same seed gives the same result."
    )
    num_inference_steps: int = Field(
        20,
        strict=True,
        ge=1,
        le=100,
        validation_alias=AliasChoices("num_inference_steps", "steps"),
        description="Denoising steps; 20 is the published number. `steps` is taken, too.",
    )
    guidance_scale: float = Field(
        3.5,
        strict=True,
        ge=0.0,
        le=20.0,
        allow_inf_nan=False,
        validation_alias=AliasChoices("guidance_scale", "guidance"),
        description="Classifier-free guidance; 1 or less turns it off. `guidance` is taken, too.",
    )
    face: Face = Field(
        "auto",
        description="Whose lips move. `auto`: in each shot the largest face. A track id of the preflight report, or a "
        "point: that face alone, in its one shot.",
    )
    output: JobOutput = Field(JobOutput(), description="How the result is written.")
    segments: tuple[JobSegment, ...] = Field(
        (),
        max_length=MAX_SEGMENTS,
        description="The parts to dub, in the order of time; the rest of the video passes through, with its own sound. "
        "Without any, the whole video is dubbed.",
    )
    priority: Priority = Field(
        Priority.NORMAL, description="Jobs of a higher priority start first, whoever's they are."
    )
    preflight_only: bool = Field(
        False, strict=True, description="Stop after the analysis: the job succeeds with `preflight` and without result."
    )

    @field_validator("segments")
    @classmethod
    def _one_after_the_other(cls, segments: tuple[JobSegment, ...], others: ValidationInfo) -> tuple[JobSegment, ...]:
        for number, (before, after) in enumerate(pairwise(segments), start=1):
            if after.start_s < before.end_s:
                message = f"segment {number} starts before segment {number - 1} ends"
                raise PydanticCustomError(ErrorCode.INVALID_SEGMENTS, message)
        if segments and others.data.get("sync_mode") in (SyncMode.LOOP, SyncMode.BOUNCE, SyncMode.HOLD):
            message = "with segments the result is as long as the video"
            raise PydanticCustomError(ErrorCode.INVALID_SEGMENTS, message)
        return segments

    @property
    def have_all_voices(self) -> bool:
        """Whether there are segments, and each has a voice of its own."""
        return bool(self.segments) and all(segment.audio_url is not None for segment in self.segments)

    def with_urls(self, change: Callable[[str], str]) -> "JobOptions":
        """The same options with every URL changed, as for sealing it."""
        changed = (
            segment
            if segment.audio_url is None
            else segment.model_copy(update={"audio_url": change(segment.audio_url)})
            for segment in self.segments
        )
        return self.model_copy(update={"segments": tuple(changed)})


class Progress(_Record):
    """Where a running job is. `fraction` in [0, 1] over the whole job; `eta_s` in seconds, absent until known."""

    stage: str
    fraction: float = Field(ge=0.0, le=1.0)
    frames_done: int = 0
    frames_total: int = 0
    eta_s: float | None = None


class JobResult(_Record):
    """What a finished job made. `key` is the object's place in storage; URLs are made when the job is read."""

    key: str
    sha256: str
    bytes: int
    width: int
    height: int
    fps: float
    frames: int
    duration_s: float
    weights: str


class JobFailure(_Record):
    """Why a job failed or expired."""

    code: ErrorCode
    message: str
    hint: str
    retryable: bool

    @classmethod
    def of(cls, code: ErrorCode, message: str) -> "JobFailure":
        """The failure of this code, with the catalogue's hint and verdict on retrying."""
        return cls(code=code, message=message, hint=CATALOGUE[code].hint, retryable=CATALOGUE[code].retryable)

    @classmethod
    def late_start(cls) -> "JobFailure":
        """The failure of a job that no worker has started in time."""
        return cls.of(ErrorCode.DEADLINE_EXCEEDED, "No worker was free by the start deadline.")

    @classmethod
    def late_end(cls) -> "JobFailure":
        """The failure of a job that was not done in time."""
        return cls.of(ErrorCode.DEADLINE_EXCEEDED, "The job was not done by its deadline.")

    @classmethod
    def worker_lost(cls, attempts: int) -> "JobFailure":
        """The failure of a job that has lost its worker so many times."""
        return cls.of(ErrorCode.WORKER_LOST, f"The worker stopped without a word, {attempts} times.")


class AttemptOutcome(StrEnum):
    """How an attempt ended: like its job, or without ending it. Lost: its worker vanished; released: it had to stop."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    LOST = "lost"
    RELEASED = "released"


class AttemptRecord(_Record):
    """One start of a job by a worker. `number` is 1 for the first. It runs as long as it has no outcome."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: AttemptOutcome | None = None


class Job(_Record):
    """
    The record of one job: the truth about it (DESIGN 3.1).

    `attempts` counts every start and is the fencing token of the latest one; `lost_attempts` counts only those whose
    worker vanished. `worker_id` ran or runs the latest one; `attempt_log` tells of all of them. `started_at` is the
    first start: without one by `start_deadline_at`, and without an end by `deadline_at`, the job expires. `timings` are
    the seconds that the attempt which succeeded spent in each stage. `tenant` is whose job it is; `batch_id` names the
    batch it came with. `traceparent` names the request that brought the job, for `core.tracing`. Queries of URLs are
    sealed (`core.private_urls`), and those of the inputs gone once the job has succeeded. `input_sha256` says by URL
    which file an input must be; `retention_s` after its end the job is purged. `retry_of` is the job that this one
    tries again. All times are UTC.
    """

    id: JobId
    tenant: str = Field(LOCAL_TENANT, pattern=TENANT_PATTERN)
    batch_id: BatchId | None = None
    status: JobStatus = JobStatus.QUEUED
    video_url: str
    audio_url: str | None = None
    options: JobOptions = Field(default_factory=JobOptions)
    webhook_url: str | None = None
    traceparent: str | None = None
    webhook_events: tuple[WebhookEvent, ...] = END_EVENTS
    metadata: dict[str, Any] = Field(default_factory=dict)
    input_sha256: dict[str, str] = Field(default_factory=dict)
    retention_s: float | None = None
    retry_of: JobId | None = None
    created_at: datetime
    start_deadline_at: datetime | None = None
    deadline_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = 0
    lost_attempts: int = 0
    attempt_log: tuple[AttemptRecord, ...] = ()
    worker_id: str | None = None
    cancel_requested: bool = False
    cancel_requested_at: datetime | None = None
    progress: Progress | None = None
    preflight: PreflightReport | None = None
    result: JobResult | None = None
    error: JobFailure | None = None
    timings: dict[str, float] = Field(default_factory=dict)

    @property
    def input_urls(self) -> tuple[str, ...]:
        """What a worker fetches: the video, the voice if there is one, and the voices of segments, in their order."""
        voices = (self.audio_url, *(segment.audio_url for segment in self.options.segments))
        return (self.video_url, *(url for url in voices if url is not None))

    @property
    def queue_rank(self) -> int:
        """Where it waits among its tenant's jobs of the same priority: a lower rank goes first, equals as they came."""
        return _PREFLIGHT_RANK if self.options.preflight_only else _RENDER_RANK

    def again(self, job_id: JobId, now: datetime) -> "Job":
        """A new job that asks for the same. Its deadlines are as far from now as this one's were from its creation."""
        asked = {name: getattr(self, name) for name in _ASKED_FOR}
        deadlines = {"start_deadline_at": self.start_deadline_at, "deadline_at": self.deadline_at}
        later = {name: at and now + (at - self.created_at) for name, at in deadlines.items()}
        return Job(id=job_id, retry_of=self.id, created_at=now, **asked, **later)

    @model_validator(mode="after")
    def _keeps_no_readable_query(self) -> Self:
        urls = self.input_urls if self.webhook_url is None else (*self.input_urls, self.webhook_url)
        if not all(map(is_safe_to_keep, urls)):
            raise ValueError("the query must be sealed: it may carry a secret")
        return self


_ASKED_FOR = ("tenant", "video_url", "audio_url", "options", "webhook_url", "webhook_events", "metadata")


class JobEventType(StrEnum):
    """What can happen to a job. A requeued one has lost its worker, or was handed back by it."""

    CREATED = "created"
    STARTED = "started"
    PROGRESS = "progress"
    REQUEUED = "requeued"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def status(self) -> JobStatus:
        """The state of a job to which this has just happened."""
        return _STATUS_AFTER.get(self) or JobStatus(self.value)


_STATUS_AFTER: Mapping[JobEventType, JobStatus] = MappingProxyType(
    {
        JobEventType.CREATED: JobStatus.QUEUED,
        JobEventType.STARTED: JobStatus.RUNNING,
        JobEventType.PROGRESS: JobStatus.RUNNING,
        JobEventType.REQUEUED: JobStatus.QUEUED,
    }
)

EVENT_OF_MOVE: Mapping[JobStatus, JobEventType] = MappingProxyType(
    {
        JobStatus.QUEUED: JobEventType.REQUEUED,
        JobStatus.RUNNING: JobEventType.STARTED,
        JobStatus.SUCCEEDED: JobEventType.SUCCEEDED,
        JobStatus.FAILED: JobEventType.FAILED,
        JobStatus.CANCELED: JobEventType.CANCELED,
        JobStatus.EXPIRED: JobEventType.EXPIRED,
    }
)
"""What happens to a job that gets into a state. The first state of all is `created`."""

EVENT_ID_PATTERN = r"^\d{1,15}-\d{1,15}$"


class JobEvent(_Record):
    """One entry of a job's history. `id` is `milliseconds-number` since the epoch, and grows from event to event."""

    id: str
    job_id: JobId
    type: JobEventType
    attempt: int
    progress: Progress | None = None

    @property
    def at(self) -> datetime:
        """When it happened."""
        return datetime.fromtimestamp(event_position(self.id)[0] / 1000, UTC)


def event_position(event_id: str) -> tuple[int, int]:
    """An id of an event, as something that sorts."""
    milliseconds, number = event_id.split("-")
    return int(milliseconds), int(number)
