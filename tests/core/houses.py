"""Job stores for tests, and what to put into them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import Redis

from core.job_store import JobStore, Lease
from core.job_store.scripts import PREFIX
from core.jobs import Job, JobId, JobResult, JobStatus, new_job_id
from core.preflight import (
    ExpectedTime,
    FaceReport,
    PreflightNotice,
    PreflightReport,
    ShotReport,
    VideoReport,
    VoiceReport,
)

LEASE_TTL_S = 1.0


@dataclass(frozen=True)
class House:
    """A store and its clock."""

    store: JobStore
    let_pass: Callable[[float], None]

    def lose_worker(self) -> None:
        """Let so much time pass that every lease that is not renewed is dead."""
        self.let_pass(LEASE_TTL_S + 0.05)


def age_redis(client: Redis, seconds: float) -> None:
    """Move every time that Redis keeps into the past: as good as waiting, but exact and at once."""
    for index in ("queued_since", "announced", "leases", "start_deadlines", "deadlines", "purge_due"):
        for job_id in client.zrange(f"{PREFIX}{index}", 0, -1):
            client.zincrby(f"{PREFIX}{index}", -seconds, str(job_id))
    for lock in client.scan_iter(f"{PREFIX}lock:*"):
        client.pexpire(lock, client.pttl(lock) - round(seconds * 1000))


def make_job(**changes: object) -> Job:
    facts = {"video_url": "https://v.org/a.mp4", "audio_url": "https://v.org/b.wav"} | changes
    return Job(id=new_job_id(), created_at=datetime.now(UTC), **facts)


def claim(store: JobStore, job_id: JobId | None = None, worker_id: str = "worker-1") -> Lease:
    """The next attempt, which is this job's if the test names one."""
    lease = store.claim_next(worker_id)
    assert lease is not None, "there is nothing to start"
    assert job_id in (None, lease.job.id), "another job is next"
    assert lease.job.status is JobStatus.RUNNING
    return lease


RESULT = JobResult(
    key="jobs/j/attempt-1/result.mp4",
    sha256="0" * 64,
    bytes=1000,
    width=1280,
    height=720,
    fps=29.97,
    frames=100,
    duration_s=3.34,
    weights="tiny",
)

PREFLIGHT = PreflightReport(
    video=VideoReport(
        width=1280,
        height=720,
        rotation_degrees=90,
        fps=29.97,
        frames=100,
        duration_s=3.34,
        codec="h264",
        pixel_format="yuv420p",
        interlaced=False,
        has_audio=True,
    ),
    voice=VoiceReport(codec="pcm_s16le", sample_rate_hz=48_000, channels=1, duration_s=3.0, peak_dbfs=-3.5),
    frames_with_face=80,
    frames_to_render=86,
    shots=(ShotReport(first_frame=0, frames=100, start_s=0.0),),
    shots_total=1,
    faces=(
        FaceReport(
            id="s0f0",
            shot=0,
            first_frame=0,
            frames=80,
            share=0.8,
            width=120.5,
            height=160.0,
            profile_share=None,
            thumbnail_frame=40,
        ),
    ),
    faces_total=1,
    warnings=(PreflightNotice(code="length_mismatch", message="…", faces=()),),
    expected_time=ExpectedTime(seconds=8.6, basis="…"),
)
