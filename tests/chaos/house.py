"""The house under attack: two APIs, some stub workers, a Redis of their own and moto's S3 behind a relay."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.embedded_stack import WORKER_READY_S
from cli.processes import ManagedProcess, free_port
from client import HighSync
from tests.relay import Relay
from tests.servers import MotoServer, wait_until
from tests.stub_stack import StubStack, stub_clip, stub_voice

WORKERS = 4
SECONDS_PER_SEGMENT = 0.4
"""Long enough that kills meet a rendering, and short enough that most jobs are rendered while faults are caused."""

BUCKET = "chaos"


class ChaosHouse:
    """A context manager: inside, everything runs, and the inputs of the jobs are uploaded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            self.moto = cleanup.enter_context(MotoServer(self._folder / "moto"))
            self.network = cleanup.enter_context(Relay(self.moto.port))
            settings = {
                "HIGHSYNC_STORAGE_URL": f"s3://{BUCKET}",
                "HIGHSYNC_S3_ENDPOINT": self.network.url,
                "HIGHSYNC_S3_ACCESS_KEY": "chaos",
                "HIGHSYNC_S3_SECRET_KEY": "chaos",
                "HIGHSYNC_WORKER_METRICS_PORT": "0",
                # Kills every few seconds hit the same innocent job three times now and then. What comes of a job
                # that loses its workers by its own fault is tested elsewhere.
                "HIGHSYNC_MAX_ATTEMPTS": "50",
            }
            self.stack = cleanup.enter_context(
                StubStack(self._folder / "stack", seconds_per_segment=SECONDS_PER_SEGMENT, settings=settings)
            )
            self.workers: list[ManagedProcess] = [self.stack.worker]
            self.workers += [self.stack.start_worker() for _ in range(WORKERS - 1)]
            wait_until(self._all_have_loaded, WORKER_READY_S, what="the workers")
            self._second_port = free_port()
            self.apis = [self.stack.api, self.stack.start_api(self._second_port)]
            self.inputs = self._upload_inputs()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _all_have_loaded(self) -> bool:
        return len(list(self.stack.logged("model_loaded"))) == WORKERS

    @property
    def urls(self) -> tuple[str, str]:
        """Where the two APIs answer: one Redis, one storage."""
        return self.stack.url, f"http://127.0.0.1:{self._second_port}"

    def kill_api(self, place: int) -> None:
        """Kill one of the APIs and start it again in its place. The other one answers meanwhile."""
        self.apis[place].kill()
        self.apis[place] = self.stack.start_api((None, self._second_port)[place])

    def _upload_inputs(self) -> dict[str, str]:
        clip, line = stub_clip(self._folder / "clip.mp4"), stub_voice(self._folder / "line.wav")
        with HighSync(self.stack.url) as client:
            return {"video_url": client.upload(clip), "audio_url": client.upload(line)}
