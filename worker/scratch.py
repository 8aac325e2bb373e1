"""Temporary files: one home per worker with one folder per attempt, and nothing left behind by the dead.

A home is locked by the processes that use it, and the kernel drops the lock with the last of them, however it ends. So
a home that can be locked is a dead worker's, in whatever container that worker ran.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

HOME_PREFIX = "highsync-worker-"
SWEEP_LOCK = "highsync-sweep.lock"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ScratchHome:
    """A folder that lives as long as one worker: `jobs` for attempts, `metrics` for the counters of all its processes.

    Forked children share it and its lock.
    """

    path: Path
    lock_fd: int

    @property
    def jobs(self) -> Path:
        """Where attempts have their folders."""
        return self.path / "jobs"

    @property
    def metrics(self) -> Path:
        """For PROMETHEUS_MULTIPROC_DIR: begins empty with each worker."""
        return self.path / "metrics"

    def clear_jobs(self) -> None:
        """Remove what an earlier child of this worker left when it was killed."""
        for leftover in self.jobs.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)

    def close(self) -> None:
        """Remove the home with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock_fd)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A fresh folder for one attempt, removed when the block ends, in whatever way."""
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=self.jobs, ignore_cleanup_errors=True) as folder:
            yield Path(folder)


def open_home(root: Path | None) -> ScratchHome:
    """Sweep the homes of dead workers under `root` (default: this user's place in the system's) and open a new one."""
    root = root or Path(tempfile.gettempdir()) / f"highsync-{os.getuid()}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (root / SWEEP_LOCK).open("w") as sweep_lock:
        fcntl.flock(sweep_lock, fcntl.LOCK_EX)
        _sweep(root)
        path = Path(tempfile.mkdtemp(prefix=HOME_PREFIX, dir=root))
        lock_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
    home = ScratchHome(path, lock_fd)
    home.jobs.mkdir()
    home.metrics.mkdir()
    return home


def _sweep(root: Path) -> None:
    for path in root.glob(f"{HOME_PREFIX}*"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # another user's home, a link, or no folder at all: not ours to remove
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
            log.info("stale_scratch_removed", path=str(path))
        finally:
            os.close(fd)
