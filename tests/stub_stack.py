"""The embedded stack with the workers of `tests.stub_worker`: all of it real but the networks, and quick to break."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cli.embedded_stack import WORKER_STOP_GRACE_S, EmbeddedStack
from cli.processes import ManagedProcess
from tests.media_factory import make_video, make_voice
from tests.stub_worker import Fault

ROOT = Path(__file__).parents[1]

SIDE = 128
SHOT_FRAMES = 8
SHOT_COLOURS = ((200, 60, 40), (40, 180, 60), (60, 60, 200))
SEGMENTS = len(SHOT_COLOURS)
"""A segment ends where a shot does: so many has a job with the stub clip."""

QUICK_RECOVERY = {
    "HIGHSYNC_LEASE_TTL_S": "3",
    "HIGHSYNC_LEASE_RENEW_S": "0.5",
    "HIGHSYNC_RECONCILE_INTERVAL_S": "0.3",
}
"""A lost worker is noticed within seconds."""


class StubStack(EmbeddedStack):
    """An embedded stack whose workers render in `seconds_per_segment`."""

    def __init__(
        self, data_dir: Path, *, seconds_per_segment: float = 0.1, settings: Mapping[str, str] | None = None
    ) -> None:
        self.faults = data_dir / "faults"
        self.journal = data_dir / "journal"
        self.faults.mkdir(parents=True)
        stub = {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "STUB_SECONDS": str(seconds_per_segment),
            "STUB_FAULTS": str(self.faults),
            "STUB_JOURNAL": str(self.journal),
        }
        super().__init__(data_dir, settings=QUICK_RECOVERY | stub | dict(settings or {}))

    def start_worker(self) -> ManagedProcess:
        """Start a stub worker."""
        self._workers_started += 1
        name = f"worker-{self._workers_started}"
        return self._launch(name, [sys.executable, "-m", "tests.stub_worker"], WORKER_STOP_GRACE_S)

    def prepare_fault(self, stage: str, fault: Fault) -> None:
        """Let the next render that comes to this stage suffer."""
        order = self.faults / f".{stage}"
        order.write_text(fault)
        order.rename(self.faults / stage)  # whole, or not there

    def renderings(self) -> list[dict[str, Any]]:
        """Every beginning of a segment by any worker, in order: job_id, segment, time, pid."""
        return _json_lines(self.journal)

    def logged(self, event: str) -> Iterator[dict[str, Any]]:
        """The lines with this event in the logs of all workers."""
        for log in sorted((self.data_dir / "logs").glob("worker-*.log")):
            yield from (line for line in _json_lines(log) if line.get("event") == event)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(errors="replace").splitlines() if line.startswith("{")]


def stub_clip(path: Path) -> Path:
    """Three shots of eight frames, in each of which the stub detector sees a face; 128x128, 25 fps."""
    ramp = np.arange(SIDE) // 4
    pictures = []
    for shot, colour in enumerate(SHOT_COLOURS):
        for frame in range(SHOT_FRAMES):
            picture = np.full((SIDE, SIDE, 3), colour, np.uint8)
            picture[..., shot] = (picture[..., shot] + ramp + frame) % 256
            pictures.append(picture)
    return make_video(path, width=SIDE, height=SIDE, frames=len(pictures), pictures=pictures)


def stub_voice(path: Path) -> Path:
    """A tone as long as the stub clip."""
    return make_voice(path, seconds=SEGMENTS * SHOT_FRAMES / 25)
