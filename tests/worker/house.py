"""A worker's surroundings without servers: the fakes that ship with the project, and a folder as storage."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import StorageUnavailable
from core.job_store import Lease, MemoryJobStore
from core.jobs import Job, JobId, new_job_id
from core.outgoing import Downloaded
from core.queue import MemoryJobQueue
from core.settings import Settings
from core.storage import LocalStorage
from core.storage.protocol import OnChunk, go_on
from tests.core.houses import claim
from tests.worker.fakes import FakePipeline
from worker.bench import OnBytes, Workbench
from worker.flags import SharedFlags
from worker.scratch import ScratchHome


class Web:
    """The internet of these tests: pages by URL, and how often each was asked for."""

    def __init__(self) -> None:
        self.pages = {"http://studio.test/clip": b"clip", "http://studio.test/voice": b"voice"}
        self.visits: list[str] = []

    def download(self, url: str, path: Path, on_bytes: OnBytes) -> Downloaded:
        self.visits.append(url)
        body = self.pages[url]
        on_bytes(len(body), len(body))
        path.write_bytes(body)
        return Downloaded(len(body), hashlib.sha256(body).hexdigest(), None)


class FlakyStorage(LocalStorage):
    """A folder on a disk that is away for the next `outages` uploads, and may damage what it keeps."""

    outages = 0

    def put_file(self, key: str, path: Path, content_type: str, on_chunk: OnChunk = go_on) -> Any:
        if self.outages > 0:
            self.outages -= 1
            raise StorageUnavailable("The folder is away.")
        return super().put_file(key, path, content_type, on_chunk)


@dataclass
class House:
    """A worker with everything around it."""

    store: MemoryJobStore
    queue: MemoryJobQueue
    storage: FlakyStorage
    web: Web
    scratch: ScratchHome
    settings: Settings
    flags: SharedFlags
    restarts: list[str] = field(default_factory=list)

    def post(self, **changes: Any) -> Job:
        """A queued job."""
        fields: dict[str, Any] = {
            "video_url": "http://studio.test/clip",
            "audio_url": "http://studio.test/voice",
            "created_at": datetime.now(UTC),
        }
        job = Job(id=new_job_id(), **(fields | changes))
        self.store.create(job)
        return job

    def claim(self, job_id: JobId) -> Lease:
        """The next attempt at the job."""
        return claim(self.store, job_id, "test")

    def bench(self, pipeline: FakePipeline, **changes: Any) -> Workbench:
        """A workbench with this pipeline."""
        fields: dict[str, Any] = {
            "worker_id": "test",
            "pipeline": pipeline,
            "weights_sha256": "w",
            "store": self.store,
            "queue": self.queue,
            "storage": self.storage,
            "download": self.web.download,
            "scratch": self.scratch,
            "settings": self.settings,
            "stopping": self.flags.stopping,
            "vitals": self.flags,
            "start_afresh": lambda: self.restarts.append("again"),
            "storage_patience_s": 1.0,
            "store_patience_s": 5.0,
        }
        return Workbench(**(fields | changes))

    def objects(self, job: Job) -> list[str]:
        """What storage holds of a job, without the job's own folder name."""
        folder = f"jobs/{job.id}"
        return [key.removeprefix(f"{folder}/") for key in self.storage.list(folder)]
