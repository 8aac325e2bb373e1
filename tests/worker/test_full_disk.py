"""A render on a machine whose disk is full: for temporary files, or for the storage that lies on it."""

import resource
from collections.abc import Callable, Iterator

import pytest

from core.errors import ErrorCode
from core.jobs import JobStatus
from model.progress import Stage, StageProgress
from tests.worker.fakes import FakePipeline
from tests.worker.house import House
from worker.render import run_render

ROOM_BYTES = 1_000_000
CLIP = "clip" * 100_000
"""Each segment of it has room on its own, the result of three has not."""


class Disk:
    """The system refuses what goes beyond the room, as it does when the disk is full."""

    def __init__(self) -> None:
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, self._before[1]))

    def clear(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.clear()


def at(stage: Stage, action: Callable[[], None]) -> Callable[[StageProgress], None]:
    return lambda progress: action() if progress.stage is stage else None


@pytest.mark.parametrize(
    "full_from", [Stage.COMPOSITE, Stage.ENCODE_MEDIA], ids=["before the result", "before it is published"]
)
def test_a_full_disk_sends_the_job_back_and_costs_no_segment(house: House, disk: Disk, full_from: Stage) -> None:
    house.web.pages["http://studio.test/clip"] = CLIP.encode()
    job, pipeline = house.post(), FakePipeline(interfere=at(full_from, disk.fill))

    def attempt() -> JobStatus:
        run_render(house.claim(job.id), house.bench(pipeline, storage_patience_s=0.1))
        disk.clear()
        return house.store.get(job.id).status

    # Given a disk that is full whenever a render comes to this stage, the job goes back, and nothing half is kept
    assert attempt() is JobStatus.QUEUED
    assert house.objects(job) == ["plan.json", "preflight/s0f0.jpg", *(f"segments/{number}.mkv" for number in range(3))]
    assert list(house.scratch.jobs.iterdir()) == []

    # When there is room again, the next attempt renders nothing twice
    pipeline.interfere = lambda progress: None
    assert attempt() is JobStatus.SUCCEEDED
    assert pipeline.rendered == [0, 1, 2]


def test_a_disk_that_stays_full_fails_the_job_by_its_name(house: House, disk: Disk) -> None:
    house.web.pages["http://studio.test/clip"] = CLIP.encode()
    job, pipeline = house.post(), FakePipeline(interfere=at(Stage.COMPOSITE, disk.fill))
    for _ in range(house.settings.max_attempts):
        run_render(house.claim(job.id), house.bench(pipeline))
        disk.clear()

    error = house.store.get(job.id).error
    assert error is not None
    assert error.code is ErrorCode.INSUFFICIENT_SCRATCH
    assert house.objects(job) == []
