"""A render whose bucket is in trouble: away, silent, slow, closed to our keys, or with other bytes than it took."""

import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import ErrorCode, StorageUnavailable
from core.jobs import Job, JobStatus
from core.settings import Settings
from core.storage import make_storage
from model.progress import Stage, StageProgress
from tests.relay import Relay
from tests.servers import MotoServer
from tests.worker.fakes import FakePipeline
from tests.worker.house import House
from worker.render import run_render

UPLOAD = "uploads/" + "0" * 32
WHOLE = "segment 0 of clip\nsegment 1 of clip\nsegment 2 of clip\n"

pytestmark = pytest.mark.e2e


@pytest.fixture
def network(moto_server: MotoServer) -> Iterator[Relay]:
    with Relay(moto_server.port) as network:
        yield network


@pytest.fixture
def house(house: House, network: Relay, tmp_path: Path) -> House:
    """With a bucket behind a network that tests can break, and an upload in it."""
    settings = Settings(
        secret_key="s" * 32,
        lease_renew_s=0.1,
        storage_url=f"s3://bucket-{uuid.uuid4().hex}",
        s3_endpoint=network.url,
        s3_access_key="access",
        s3_secret_key="hunter2-hunter2",
    )
    storage: Any = make_storage(settings, hurried=True)
    storage.prepare()
    (tmp_path / "clip").write_bytes(b"clip")
    storage.put_file(UPLOAD, tmp_path / "clip", "video/mp4")
    return replace(house, storage=storage, settings=settings)


def post(house: House, **changes: Any) -> Job:
    return house.post(video_url=UPLOAD.replace("uploads/", "upload://"), **changes)


def attempt(house: House, job: Job, pipeline: FakePipeline, patience_s: float = 0.3) -> Job:
    """One attempt at the job, and the record after it."""
    run_render(house.claim(job.id), house.bench(pipeline, storage_patience_s=patience_s))
    return house.store.get(job.id)


def result_text(house: House, job: Job) -> str:
    assert job.result is not None
    return b"".join(house.storage.open_stream(job.result.key)).decode()


MOMENTS = {
    "fetch": lambda progress: progress.stage is Stage.DECODE_MEDIA,
    "checkpoint": lambda progress: progress.stage is Stage.DENOISE and progress.frames_done == progress.frames_total,
    "publish": lambda progress: progress.stage is Stage.ENCODE_MEDIA,
}
"""When a render is about to need its storage; `fetch` is over by its moment, so trouble there begins before."""

anywhere = pytest.mark.parametrize("moment", MOMENTS)


def trouble(pipeline: FakePipeline, moment: str, begin: Callable[[], None]) -> None:
    """Let it begin at once for `fetch`, and otherwise when a render first comes to this moment."""
    begun: list[StageProgress] = []

    def interfere(progress: StageProgress) -> None:
        if MOMENTS[moment](progress) and not begun:
            begun.append(progress)
            begin()

    if moment == "fetch":
        begin()
    else:
        pipeline.interfere = interfere


@anywhere
def test_an_outage_sends_the_job_back_and_the_next_attempt_goes_on_from_there(
    house: House, network: Relay, moment: str
) -> None:
    job, pipeline = post(house), FakePipeline()
    trouble(pipeline, moment, network.cut)

    after = attempt(house, job, pipeline)
    assert (after.status, after.result) == (JobStatus.QUEUED, None)
    rendered = len(pipeline.rendered)
    network.mend()
    after = attempt(house, job, pipeline)

    assert after.status is JobStatus.SUCCEEDED
    assert result_text(house, after) == WHOLE
    lost = 1 if moment == "checkpoint" else 0  # the segment that could not be saved
    assert len(pipeline.rendered) == 3 + lost
    assert rendered == {"fetch": 0, "checkpoint": 1, "publish": 3}[moment]


@anywhere
def test_a_short_outage_is_a_delay(house: House, network: Relay, moment: str) -> None:
    job, pipeline = post(house), FakePipeline()

    def blink() -> None:
        network.cut()
        threading.Timer(0.5, network.mend).start()

    trouble(pipeline, moment, blink)
    after = attempt(house, job, pipeline, patience_s=30)

    assert (after.status, after.attempts) == (JobStatus.SUCCEEDED, 1)
    assert pipeline.rendered == [0, 1, 2]


@anywhere
def test_a_server_that_does_not_answer_holds_no_worker(house: House, network: Relay, moment: str) -> None:
    job, pipeline = post(house), FakePipeline()
    trouble(pipeline, moment, network.stall)

    after = attempt(house, job, pipeline)

    assert (after.status, after.result) == (JobStatus.QUEUED, None)


def test_a_slow_network_is_waited_for(house: House, network: Relay, tmp_path: Path) -> None:
    (tmp_path / "large").write_text("clip" * 25_000)
    house.storage.put_file(UPLOAD, tmp_path / "large", "video/mp4")
    job, pipeline = post(house), FakePipeline(segments=1)
    network.bytes_per_s = 400_000

    after = attempt(house, job, pipeline)

    assert (after.status, after.attempts) == (JobStatus.SUCCEEDED, 1)


def test_an_outage_without_end_fails_the_job_by_its_name(house: House, network: Relay) -> None:
    job, pipeline = post(house), FakePipeline()
    trouble(pipeline, "publish", network.cut)
    statuses = [attempt(house, job, pipeline).status for _ in range(house.settings.max_attempts)]

    assert statuses == [JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.FAILED]
    assert error_code(house, job) is ErrorCode.STORAGE_UNAVAILABLE


def error_code(house: House, job: Job) -> ErrorCode:
    error = house.store.get(job.id).error
    assert error is not None
    return error.code


def test_keys_that_are_refused_are_an_outage_that_the_operator_can_end(house: House, moto_server: MotoServer) -> None:
    job, pipeline = post(house), FakePipeline()
    with keys_refused(moto_server):
        assert attempt(house, job, pipeline).status is JobStatus.QUEUED
        with pytest.raises(StorageUnavailable, match="403"):
            house.storage.check()

    after = attempt(house, job, pipeline)

    assert result_text(house, after) == WHOLE


@contextmanager
def keys_refused(server: MotoServer) -> Iterator[None]:
    """Let the server ask for the keys of a user that it knows, and it knows none."""
    _ask_for_keys_after(server, "0")
    try:
        yield
    finally:
        _ask_for_keys_after(server, "inf")


def _ask_for_keys_after(server: MotoServer, requests: str) -> None:
    url, headers = f"{server.url}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    request = urllib.request.Request(url, requests.encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 200


def test_another_file_than_announced_fails_the_job_at_once(house: House) -> None:
    """A bucket that does not compare checksums takes any file; the worker does not."""
    job, pipeline = post(house, input_sha256={UPLOAD.replace("uploads/", "upload://"): "0" * 64}), FakePipeline()

    after = attempt(house, job, pipeline)

    assert after.status is JobStatus.FAILED
    assert error_code(house, job) is ErrorCode.CHECKSUM_MISMATCH
    assert pipeline.analysed == 0


@pytest.mark.parametrize(("damaged", "again"), [("segments/1.mkv", [1]), ("plan.json", [0, 1, 2])])
def test_a_checkpoint_that_was_damaged_is_made_again(
    house: House, network: Relay, moto_server: MotoServer, damaged: str, again: list[int]
) -> None:
    job, pipeline = post(house), FakePipeline()
    trouble(pipeline, "publish", network.cut)
    attempt(house, job, pipeline)
    network.mend()
    damage(house, f"jobs/{job.id}/{damaged}")

    after = attempt(house, job, pipeline)

    assert result_text(house, after) == WHOLE
    assert pipeline.rendered == [0, 1, 2, *again]


def damage(house: House, key: str) -> None:
    """Other bytes, as many, with the same metadata: what a rotten disk gives back."""
    storage: Any = house.storage
    client, bucket = storage._client, storage._bucket
    head = client.head_object(Bucket=bucket, Key=key)
    client.put_object(Bucket=bucket, Key=key, Body=bytes(head["ContentLength"]), Metadata=head["Metadata"])
