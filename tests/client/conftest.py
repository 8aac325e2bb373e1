"""The API over fakes behind a real socket, and a site that answers as it likes: what a client may meet."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from pydantic import SecretStr
from structlog.testing import capture_logs

from client import HighSync
from core.job_store import Lease
from core.jobs import JobId, JobResult
from core.settings import Settings
from service.app import create_app
from service.services import Services
from tests.core.houses import claim
from tests.servers import MotoServer, free_port, wait_until
from tests.service.conftest import make_services, make_settings
from tests.sites import Site

VIDEO, VOICE = "https://media.example.com/a.mp4", "https://media.example.com/a.wav"
DUBBED = bytes(range(256)) * 3000


class Service:
    """A served API. `services` are its insides; `work` plays the worker."""

    def __init__(self, services: Services, url: str, folder: Path) -> None:
        self.services = services
        self.url = url
        self._folder = folder

    def claim(self, job_id: str) -> Lease:
        """Start the job."""
        return claim(self.services.store, JobId(job_id))

    def work(self, job_id: str) -> JobResult:
        """Start the job, and finish it with DUBBED as its result."""
        return self.finish(self.claim(job_id))

    def finish(self, lease: Lease) -> JobResult:
        """Finish the job with DUBBED as its result."""
        (self._folder / "result.mp4").write_bytes(DUBBED)
        stored = self.services.storage.put_file(
            f"jobs/{lease.job.id}/attempt-{lease.token}/result.mp4", self._folder / "result.mp4", "video/mp4"
        )
        assert stored.sha256 is not None
        result = JobResult(
            key=stored.key,
            sha256=stored.sha256,
            bytes=stored.bytes,
            width=64,
            height=48,
            fps=25.0,
            frames=100,
            duration_s=4.0,
            weights="fake",
        )
        self.services.store.succeed(lease, result)
        return result


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with served(make_settings(tmp_path), tmp_path) as service:
        yield service


@pytest.fixture
def bucket_service(tmp_path: Path, moto_server: MotoServer) -> Iterator[Service]:
    """One that keeps its files in a bucket."""
    bucket = {
        "storage_url": f"s3://bucket-{uuid.uuid4().hex}",
        "s3_endpoint": moto_server.url,
        "s3_access_key": "access",
        "s3_secret_key": SecretStr("secret"),
        "input_max_bytes": 1024**3,
    }
    with served(make_settings(tmp_path).model_copy(update=bucket), tmp_path) as service:
        yield service


@contextmanager
def served(settings: Settings, folder: Path) -> Iterator[Service]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = settings.model_copy(update={"public_url": url})
    services = make_services(settings)
    app = create_app(settings, services)
    server = uvicorn.Server(uvicorn.Config(app, port=port, ws="none", lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, what="uvicorn")
    with capture_logs():  # what the API logs is not what a command prints
        yield Service(services, url, folder)
    server.should_exit = True
    thread.join()


@pytest.fixture
def highsync(service: Service) -> Iterator[HighSync]:
    with HighSync(service.url, patience_s=5.0) as client:
        yield client


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def lonely(site: Site) -> Iterator[HighSync]:
    """A client whose service is the site."""
    with HighSync(site.url(""), "hs_secret", patience_s=5.0) as client:
        yield client
