"""What a worker's processes count is shown as one, whichever of them are gone."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from worker.metric_files import MetricFiles

ROOT = Path(__file__).parents[2]

PARENT = """
import multiprocessing, sys
from pathlib import Path
from prometheus_client import generate_latest
from core.metrics import FRAMES, JOB_DURATION_SECONDS, WORKER_BUSY, WORKER_UP, worker_registry
from worker.metric_files import MetricFiles

folder, children = Path(sys.argv[1]), int(sys.argv[2])
files = MetricFiles(folder)
registry = worker_registry(files)
processes = multiprocessing.get_context("fork")

def child(ready, leave):
    FRAMES.labels("synced").inc(250)
    JOB_DURATION_SECONDS.labels("succeeded").observe(7)
    WORKER_UP.set(1)
    WORKER_BUSY.set(1)
    ready.set()
    leave.wait()

def show(when):
    print(f"--- {when}")
    print(generate_latest(registry).decode())

for number in range(children):
    ready, leave = processes.Event(), processes.Event()
    process = processes.Process(target=child, args=(ready, leave))
    process.start()
    ready.wait()
    files.bury_the_dead()
    if number == 0:
        show("living")
    process.kill()
    process.join()
files.bury_the_dead()
files.bury_the_dead()
show("dead")
"""

CHILDREN = 3


@dataclass
class Worker:
    """What the worker showed while its first child lived and when all were dead, and the folder that it left."""

    living: str
    dead: str
    folder: Path


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    folder = tmp_path_factory.mktemp("metrics")
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT, str(folder), str(CHILDREN)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, living, dead = done.stdout.split("--- ")
    return Worker(living, dead, folder)


def test_the_parent_of_a_prefork_pool_answers_for_its_children(worker: Worker) -> None:
    assert 'highsync_frames_total{result="synced"} 250.0' in worker.living
    assert "highsync_worker_up 1.0" in worker.living
    assert "highsync_worker_busy 1.0" in worker.living


def test_what_the_dead_have_counted_stays(worker: Worker) -> None:
    assert f'highsync_frames_total{{result="synced"}} {250.0 * CHILDREN}' in worker.dead
    counted = 'highsync_job_duration_seconds_{}{{{}outcome="succeeded"}} {}'
    assert counted.format("bucket", 'le="5.0",', 0.0) in worker.dead
    assert counted.format("bucket", 'le="10.0",', float(CHILDREN)) in worker.dead
    assert counted.format("sum", "", 7.0 * CHILDREN) in worker.dead


def test_what_the_dead_were_doing_is_over(worker: Worker) -> None:
    assert "highsync_worker_up 0.0" in worker.dead  # the parent's own word
    assert "highsync_worker_busy 0.0" in worker.dead


def test_a_thousand_dead_take_no_more_room_than_one(worker: Worker) -> None:
    kinds = sorted(file.stem.rpartition("_")[0] for file in worker.folder.glob("*.db"))
    assert kinds == ["counter", "counter", "gauge_livemax", "histogram", "histogram"]  # the parent's and the dead's


@pytest.mark.parametrize("content", [b"", b"\xff\x00\x00\x00\x00\x00\x00\x00\x7f\x00\x00\x00"], ids=["empty", "cut"])
def test_a_file_that_nobody_can_read_is_removed(tmp_path: Path, content: bytes) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    left = tmp_path / f"counter_{process.pid}.db"
    left.write_bytes(content)
    MetricFiles(tmp_path).bury_the_dead()
    assert not left.exists()
    assert list(MetricFiles(tmp_path).collect()) == []
