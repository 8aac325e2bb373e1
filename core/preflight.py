"""The preflight report of a job, as it stands in its record: what its inputs are, before a network of ours runs."""

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VideoReport(_Record):
    """The picture. `frames` and `duration_s` are those that were really decoded; size in px, upright."""

    width: int
    height: int
    rotation_degrees: int
    fps: float
    frames: int
    duration_s: float
    codec: str
    pixel_format: str
    interlaced: bool
    has_audio: bool


class VoiceReport(_Record):
    """The voice."""

    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float
    peak_dbfs: float = Field(description="Its loudest sample; 0 is full scale.")


class ShotReport(_Record):
    """A run of frames between two cuts."""

    first_frame: int
    frames: int
    start_s: float


class FaceReport(_Record):
    """A face through one shot. `options.face` takes its id."""

    id: str = Field(description="Always the same for the same file.", examples=["s0f0"])
    shot: int = Field(description="Index of its shot, from 0.")
    first_frame: int = Field(description="Where its shot begins.")
    frames: int = Field(description="In how many frames it is.")
    share: float = Field(description="That, as a share of the shot's frames.")
    width: float = Field(description="px, the median")
    height: float = Field(description="px, the median")
    profile_share: float | None = Field(
        description="Share of its sightings that show it from the side; absent when the detector cannot tell."
    )
    thumbnail_frame: int = Field(description="The frame its thumbnail is taken from.")


class PreflightNotice(_Record):
    """Something that may go wrong."""

    code: str
    message: str
    faces: tuple[str, ...] = Field(description="The face ids it is about, if it is about any.")


class ExpectedTime(_Record):
    """How long the render will take once it runs."""

    seconds: float
    basis: str = Field(description="What the number follows from.")


class PreflightReport(_Record):
    """Everything a preflight has found. The lists are bounded; the totals are not."""

    video: VideoReport
    voice: VoiceReport | None = Field(description="Absent without a voice, or when it is silent.")
    frames_with_face: int
    frames_to_render: int
    shots: tuple[ShotReport, ...] = Field(description="The first 200.")
    shots_total: int
    faces: tuple[FaceReport, ...] = Field(description="The 50 largest, in the order of the clip.")
    faces_total: int
    warnings: tuple[PreflightNotice, ...]
    expected_time: ExpectedTime | None = Field(
        description="Absent until a worker has rendered jobs of this kind since it started."
    )


def thumbnail_key(job_id: str, face_id: str) -> str:
    """Where the thumbnail of a face is stored: with the job, so that it goes with the job."""
    return f"jobs/{job_id}/preflight/{face_id}.jpg"
