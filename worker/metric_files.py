"""The files in which the processes of a worker count, shown as one, and what becomes of them when a process is gone.

A killed child leaves its files behind. What it counted stays true: it goes into one file of all the dead, so that a
scrape costs the same after a thousand of them. What it was doing is over: its gauges are removed.
"""

import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import structlog
from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

log = structlog.get_logger(__name__)

THE_DEAD = 0
"""Stands for all of them in the name of their file. No process that counts has this number."""


class MetricFiles(Collector):
    """The collector of a worker's parent, over the folder that PROMETHEUS_MULTIPROC_DIR names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # a scrape between the two halves of a burial would count something twice

    def collect(self) -> Iterator[Metric]:
        """The metrics of all processes, living and dead."""
        with self._lock:
            yield from list(MultiProcessCollector(None, str(self._folder)).collect())  # type: ignore[no-untyped-call]

    def bury_the_dead(self) -> None:
        """Put away what processes have left that are gone, killed ones too."""
        dead = {pid for pid in map(_pid_of, self._folder.glob("*.db")) if pid != THE_DEAD and not _is_alive(pid)}
        for pid in dead:
            with self._lock:
                mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]  # removes its gauges
                for kind in ("counter", "histogram"):
                    left = self._folder / f"{kind}_{pid}.db"
                    if left.exists():
                        _add(left, self._folder / f"{kind}_{THE_DEAD}.db")
                        left.unlink()


def _pid_of(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])


def _add(source: Path, target: Path) -> None:
    """Add every number of one file to those of another, which may not be there yet."""
    try:
        numbers = list(MmapedDict.read_all_values_from_file(str(source)))  # type: ignore[no-untyped-call]
    except (RuntimeError, struct.error) as error:
        log.warning("counts_lost", file=source.name, reason=str(error))
        return
    sums = MmapedDict(str(target))  # type: ignore[no-untyped-call]
    for key, value, timestamp, _ in numbers:
        sums.write_value(key, sums.read_value(key)[0] + value, timestamp)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
