"""What the end-to-end tests share: small clips with a face, and a view of a running stack from outside."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cli.embedded_stack import EmbeddedStack
from client import Failure, HighSync, Job, JobStatus
from tests.media_factory import make_video, make_voice
from tests.servers import wait_until

QUICK: dict[str, Any] = {"num_inference_steps": 1, "guidance_scale": 1.0}
"""Options under which the untrained weights take a few tenths of a second per frame."""

JOB_TIMEOUT_S = 240.0

FAULT_TOLERANT = {
    "HIGHSYNC_LEASE_TTL_S": "6",
    "HIGHSYNC_LEASE_RENEW_S": "1",
    "HIGHSYNC_RECONCILE_INTERVAL_S": "0.5",
    "OMP_NUM_THREADS": "1",
}
"""Settings under which a lost worker is noticed within seconds."""


def portrait_clip(path: Path, frames: int) -> Path:
    """The public-domain portrait of an astronaut, drifting by a pixel every ten frames; 384x384, 25 fps."""
    from skimage.data import astronaut

    portrait = astronaut()
    pictures = [np.roll(portrait, frame // 10, axis=1)[:384, 40:424] for frame in range(frames)]
    return make_video(path, width=384, height=384, frames=frames, pictures=pictures)


def voice(path: Path, seconds: float) -> Path:
    """A tone that swells and fades like syllables."""
    t = np.arange(round(16_000 * seconds)) / 16_000
    samples = 0.3 * np.sin(2 * np.pi * 180 * t) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    return make_voice(path, seconds=seconds, samples=samples[None].astype(np.float32))


def failure_of(job: Job) -> Failure:
    """Why the job failed."""
    assert job.status is JobStatus.FAILED, job
    assert job.error is not None
    return job.error


class Studio:
    """A client in front of a running stack."""

    def __init__(self, stack: EmbeddedStack, client: HighSync) -> None:
        self.stack = stack
        self.client = client

    def dub(self, video: str, audio: str, **options: Any) -> Job:
        """Post a job and wait for its end."""
        return self.wait(self.post(video, audio, **options))

    def post(self, video: str, audio: str, **options: Any) -> str:
        """Post a job; its id."""
        return self.client.submit(video, audio, **(QUICK | options)).id

    def wait(self, job_id: str) -> Job:
        """The job when it is over."""
        return self.client.wait(job_id, JOB_TIMEOUT_S)

    def wait_for_segment(self, job_id: str) -> None:
        """Wait until the first segment of the job is in storage, and its worker has said so."""
        wait_until(lambda: bool(self.rendered(job_id)), JOB_TIMEOUT_S, what="a finished segment")

    def wait_for_stage(self, job_id: str, stage: str) -> None:
        """Wait until the job is at this stage."""
        wait_until(lambda: self._stage(job_id) == stage, JOB_TIMEOUT_S, what=stage)

    def _stage(self, job_id: str) -> str | None:
        progress = self.client.job(job_id).progress
        return None if progress is None else progress.stage

    def rendered(self, job_id: str) -> list[int]:
        """Which segments of the job any worker has rendered, in order, as the workers' logs tell."""
        return [
            entry["segment"]
            for entry in self._log_entries()
            if entry.get("event") == "segment_rendered" and entry.get("job_id") == job_id
        ]

    def _log_entries(self) -> Iterator[dict[str, Any]]:
        for log in sorted((self.stack.data_dir / "logs").glob("worker-*.log")):
            for line in log.read_text(errors="replace").splitlines():
                if line.startswith("{"):
                    yield json.loads(line)

    def replace_worker(self) -> None:
        """Start another worker in place of one that is gone."""
        self.stack.worker = self.stack.start_worker()
