"""The JSON of jobs, as clients send and see it."""

import json
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from core.batches import BATCH_ID_PATTERN
from core.jobs import (
    END_EVENTS,
    JOB_ID_PATTERN,
    AttemptRecord,
    JobEventType,
    JobFailure,
    JobOptions,
    JobStatus,
    Progress,
    WebhookEvent,
)
from core.preflight import FaceReport, PreflightReport

LONGEST_WAIT_S = 60
METADATA_MAX_BYTES = 16 * 1024
DEADLINE_MAX_S = 30 * 24 * 3600
EXAMPLE_ID = "01k8z6wq4vn2f7c0t5r9x3b1m6hd8jgpesya"

Url = Annotated[str, Field(min_length=1, max_length=8192)]
DeadlineSeconds = Annotated[float, Field(strict=True, gt=0, le=DEADLINE_MAX_S, allow_inf_nan=False)]


class NewJob(BaseModel):
    """A video, a voice, and how to bring them together."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "video_url": "https://media.example.com/scene-12.mp4",
                    "audio_url": "https://media.example.com/scene-12.de.wav",
                    "options": {"sync_mode": "cut_off", "seed": 7},
                    "webhook_url": "https://studio.example.com/hooks/highsync",
                    "metadata": {"project": "pilot", "scene": 12},
                },
                {
                    "video_url": "https://media.example.com/scene-12.mp4",
                    "options": {
                        "segments": [
                            {"start_s": 2.0, "end_s": 4.52, "audio_url": "https://media.example.com/line-1.wav"},
                            {"start_s": 7.2, "end_s": 9.0, "audio_url": "upload://" + "0" * 32, "face": "s1f0"},
                        ],
                        "output": {"container": "mov", "codec": "prores", "audio_codec": "pcm"},
                    },
                },
            ]
        },
    )

    video_url: Url = Field(description="http(s):// address, or the upload:// id of an uploaded file.")
    options: JobOptions = Field(default_factory=JobOptions)
    audio_url: Url | None = Field(
        None,
        validate_default=True,
        description="The new voice: http(s):// address, or upload:// id. A preflight can do without, and a job whose "
        "segments all have a voice of their own has none.",
    )
    webhook_url: Url | None = Field(None, description="http(s):// address that is told of the job.")
    webhook_events: tuple[WebhookEvent, ...] = Field(
        END_EVENTS, max_length=20, description="What it is told; by default, how the job has ended."
    )
    start_deadline_s: DeadlineSeconds | None = Field(
        None, description="The job expires when no worker has started it so many seconds after it was accepted."
    )
    deadline_s: DeadlineSeconds | None = Field(
        None, description="The job expires when it is not done so many seconds after it was accepted."
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="Yours: any JSON object of at most 16 KB, given back with the job."
    )

    @field_validator("audio_url")
    @classmethod
    def _there_is_a_voice(cls, audio_url: str | None, others: ValidationInfo) -> str | None:
        # Options that are wrong themselves count as the default ones, so that everything wrong is named at once.
        default = cls.model_fields["options"].get_default(call_default_factory=True)
        options = others.data.get("options", default)
        if audio_url is None and not (options.preflight_only or options.have_all_voices):
            raise PydanticCustomError("missing", "Field required")
        if audio_url is not None and options.have_all_voices:
            raise ValueError("every segment has a voice of its own")
        return audio_url

    @field_validator("metadata")
    @classmethod
    def _metadata_is_small(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(metadata, ensure_ascii=False).encode()) > METADATA_MAX_BYTES:
            raise ValueError(f"more than {METADATA_MAX_BYTES} bytes as JSON")
        return metadata

    @model_validator(mode="after")
    def _events_have_a_receiver(self) -> Self:
        if "webhook_events" in self.model_fields_set and self.webhook_url is None:
            raise ValueError("webhook_events without a webhook_url")
        return self


class NewPreflight(NewJob):
    """A video, and the voice if there is one already, to be looked at."""

    options: JobOptions = Field(default_factory=lambda: JobOptions(preflight_only=True))

    @field_validator("options")
    @classmethod
    def _look_only(cls, options: JobOptions) -> JobOptions:
        return options.model_copy(update={"preflight_only": True})


class NewRetry(BaseModel):
    """What shall be different from the job that is tried again. What is not said stays as it was."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}, {"deadline_s": 3600}]})

    start_deadline_s: DeadlineSeconds | None = Field(None, description="As in a new job; counts from now.")
    deadline_s: DeadlineSeconds | None = Field(None, description="As in a new job; counts from now.")


class JobQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    status: JobStatus | None = Field(None, description="Only jobs in this state.")
    batch: str | None = Field(None, pattern=BATCH_ID_PATTERN, description="Only jobs of this batch.")
    cursor: str | None = Field(None, pattern=JOB_ID_PATTERN, description="`next_cursor` of the previous page.")
    limit: int = Field(50, ge=1, le=100, description="Jobs per page.")


class FollowQuery(BaseModel):
    """How to look at a job."""

    model_config = ConfigDict(extra="forbid")

    wait: float = Field(
        0,
        ge=0,
        le=LONGEST_WAIT_S,
        allow_inf_nan=False,
        description="Answer when the job has changed or is over, but at the latest after so many seconds. "
        "Changed means: from the version in `If-None-Match`, or else from now on.",
    )


class JobLinks(BaseModel):
    """Where to go next."""

    self: str = Field(description="GET: the job as it is now. DELETE: cancel it, or purge it once it is over.")
    cancel: str = Field(description="POST: cancel it; may be repeated.")
    events: str = Field(description="GET: its events as they happen.")


class AcceptedJob(BaseModel):
    """The job is kept, and will be rendered."""

    id: str = Field(examples=[EXAMPLE_ID])
    status: JobStatus
    links: JobLinks


class ResultView(BaseModel):
    """The finished video."""

    url: str = Field(description="Where to download it, for a limited time; read the job again for a fresh link.")
    sha256: str
    bytes: int
    width: int = Field(description="px")
    height: int = Field(description="px")
    fps: float
    frames: int
    duration_s: float
    weights: str = Field(description="The weights it was rendered with.")


class FaceView(FaceReport):
    """A face through one shot, with its picture."""

    thumbnail_url: str | None = Field(
        description="A small JPEG, for a limited time. Absent once the job has failed, or was canceled or expired."
    )


class PreflightView(PreflightReport):
    """What the analysis has found."""

    faces: tuple[FaceView, ...] = Field(description="The 50 largest, in the order of the clip.")


class JobView(AcceptedJob):
    """A job as it is now."""

    retry_of: str | None = Field(description="The job that this one tries again.")
    batch_id: str | None = Field(description="The batch it came with, if it did.")
    created_at: datetime
    start_deadline_at: datetime | None = Field(description="When it expires if no worker has started it.")
    deadline_at: datetime | None = Field(description="When it expires if it is not done.")
    started_at: datetime | None
    finished_at: datetime | None
    attempts: list[AttemptRecord] = Field(description="Every start by a worker, the latest one last.")
    cancel_requested: bool
    video_url: str = Field(description="As posted, without its query.")
    audio_url: str | None = Field(description="As posted, without its query.")
    options: JobOptions
    metadata: dict[str, JsonValue]
    queue_position: int | None = Field(
        None, description="How many starts from now it is its turn, 1 for the next; while it waits. Not in lists."
    )
    eta_s: float | None = Field(
        None, description="Seconds until it will probably be done. Absent when nothing tells. Not in lists."
    )
    eta_basis: str | None = Field(None, description="What `eta_s` follows from.")
    progress: Progress | None = Field(description="Where it is, while it runs.")
    preflight: PreflightView | None = Field(description="Once it is analysed, before it is rendered. Not in lists.")
    result: ResultView | None = Field(description="Once it has succeeded; never of a preflight.")
    error: JobFailure | None = Field(description="Once it has failed or expired.")
    timings: dict[str, float] = Field(description="Seconds spent in each stage, once it has succeeded.")


class JobEventView(BaseModel):
    """What happened to a job: `data` of a server-sent event."""

    job_id: str = Field(examples=[EXAMPLE_ID])
    type: JobEventType
    status: JobStatus = Field(description="The state of the job since then.")
    at: datetime
    attempt: int = Field(description="The attempt it belongs to; 0 before the first.")
    progress: Progress | None = Field(description="With `progress` only.")


class JobList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobView]
    next_cursor: str | None = Field(description="Asks for the next page; absent on the last one.")
