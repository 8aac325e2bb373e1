"""What can befall a worker and Redis, caused for real in a real stack; only the networks are a stub."""

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from client import HighSync, Job
from tests.servers import children_of, wait_until
from tests.sites import Site, Visit
from tests.stub_stack import SEGMENTS, StubStack, stub_clip, stub_voice
from tests.stub_worker import POISON_SEED, Fault

pytestmark = pytest.mark.e2e

TIMEOUT_S = 180.0
STALL_TIMEOUT_S = 8
"""Longer than anything that an honest render does between two signs of life, on a busy machine too."""

OUTAGE_S = 30.0
SOON_S = 5.0
"""A refusal comes within so many seconds, on a busy machine too. Alone it takes two and a half at most."""


class Studio:
    """A client of the stack, with the inputs of its jobs uploaded."""

    def __init__(self, stack: StubStack, client: HighSync, folder: Path) -> None:
        self.stack = stack
        self.client = client
        self.clip, self.line = stub_clip(folder / "clip.mp4"), stub_voice(folder / "line.wav")
        self.upload_inputs()

    def upload_inputs(self) -> None:
        """Bring the files of the jobs to the service."""
        self.inputs = {"video_url": self.client.upload(self.clip), "audio_url": self.client.upload(self.line)}

    def post(self, seed: int = 0, video_url: str | None = None) -> str:
        """The id of a new job."""
        return self.client.submit(video_url or self.inputs["video_url"], self.inputs["audio_url"], seed=seed).id

    def kill_render_process(self) -> None:
        """Kill what the worker has started: its one process that fetches, renders and publishes."""
        for pid in children_of(self.stack.worker.pid):
            os.kill(pid, signal.SIGKILL)

    def post_raw(self) -> httpx.Response:
        """The plain answer to one POST /jobs."""
        return httpx.post(f"{self.stack.url}/jobs", json=self.inputs, timeout=30.0, trust_env=False)

    def wait_for_rendering(self, job_id: str) -> None:
        """Wait until a segment of the job is being rendered."""
        wait_until(lambda: any(r["job_id"] == job_id for r in self.stack.renderings()), TIMEOUT_S, what="a rendering")

    def finished(self, *job_ids: str) -> list[Job]:
        """The jobs when all are over; each has succeeded, with one result, and no finished segment was repeated."""
        jobs = [self.client.wait(job_id, TIMEOUT_S) for job_id in job_ids]
        assert {job.status for job in jobs} == {"succeeded"}, jobs
        wait_until(lambda: self.published().keys() >= set(job_ids), TIMEOUT_S, what="the workers' word for it")
        published = self.published()
        saved = Counter((line["job_id"], line["segment"]) for line in self.stack.logged("segment_rendered"))
        for job in jobs:
            assert published[job.id] == 1
            assert [saved[job.id, segment] for segment in range(SEGMENTS)] == [1] * SEGMENTS
        return jobs

    def published(self) -> Counter[str]:
        """How often each job was published, as the workers' logs say."""
        return Counter(line["job_id"] for line in self.stack.logged("job_succeeded"))

    def attempts(self, job_id: str) -> int:
        """How often the job was started."""
        with self.redis() as redis:
            return int(redis.hget(f"highsync:job:{job_id}", "attempts"))  # type: ignore[arg-type]

    def redis(self) -> Redis:
        """A connection of the test's own."""
        return Redis.from_url(self.stack.redis_url, decode_responses=True)

    def restart_redis(self) -> None:
        """Start it again on the data it had."""
        self.stack.redis = self.stack.start_redis()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A web server of the studio's network, which the operator has allowed."""
    with Site() as site:
        yield site


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("faults")
    settings = {
        "HIGHSYNC_STALL_TIMEOUT_S": str(STALL_TIMEOUT_S),
        "HIGHSYNC_FETCH_ALLOW": f"127.0.0.1/32:{site.port}",
    }
    with StubStack(folder / "stack", settings=settings) as stack, HighSync(stack.url) as client:
        yield Studio(stack, client, folder)


@pytest.mark.parametrize(
    "stages",
    [("decode_media", "track_faces"), ("crop_faces", "encode_audio"), ("plan_windows", "denoise"), ("composite",)],
)
def test_a_job_outlives_a_kill_9_at_any_stage(studio: Studio, stages: tuple[str, ...]) -> None:
    for stage in stages:
        studio.stack.prepare_fault(stage, Fault.KILL_CHILD)
    job_id = studio.post()
    studio.finished(job_id)
    assert studio.attempts(job_id) == 1 + len(stages)
    assert studio.stack.worker.returncode is None


def test_a_job_outlives_a_kill_9_while_it_fetches(studio: Studio, site: Site) -> None:
    # Given a server that stops in the middle of the file, the first time it is asked for it
    content, is_halfway = studio.clip.read_bytes(), threading.Event()

    def clip(visit: Visit) -> None:
        if is_halfway.is_set():
            return visit.reply(200, content)
        visit.start({"Content-Length": str(len(content))})
        visit.wfile.write(content[: len(content) // 2])
        is_halfway.set()
        visit.rfile.read(1)  # until the other side is gone

    site.pages["/clip.mp4"] = clip
    job_id = studio.post(video_url=site.url("/clip.mp4"))
    assert is_halfway.wait(TIMEOUT_S)

    studio.kill_render_process()

    studio.finished(job_id)
    assert studio.attempts(job_id) == 2


def test_a_job_outlives_the_end_of_its_whole_worker_while_it_encodes(studio: Studio) -> None:
    studio.stack.prepare_fault("encode_media", Fault.KILL_WORKER)
    job_id = studio.post()
    wait_until(lambda: studio.stack.worker.returncode is not None, TIMEOUT_S, what="the end of the worker")
    studio.stack.worker = studio.stack.start_worker()
    studio.finished(job_id)


def test_a_render_that_hangs_is_ended_by_the_watchdog(studio: Studio) -> None:
    # Given one hang in Python, and one in a library that lets no other thread run
    for stage, fault in (("denoise", Fault.HANG), ("composite", Fault.HANG_WITH_THE_LOCK)):
        studio.stack.prepare_fault(stage, fault)
        studio.finished(studio.post())
    assert len(list(studio.stack.logged("render_stalled"))) == 2
    metrics = httpx.get(f"http://127.0.0.1:{studio.stack.worker_metrics_port}/metrics", trust_env=False).text
    assert "highsync_renders_stalled_total 2.0" in metrics
    assert re.search(r"^highsync_scratch_free_ratio 0\.\d+$", metrics, re.MULTILINE)


def test_after_a_cuda_error_a_new_child_makes_the_next_attempt(studio: Studio) -> None:
    studio.stack.prepare_fault("denoise", Fault.CUDA_ERROR)
    job_id = studio.post()
    studio.finished(job_id)
    assert studio.attempts(job_id) == 2
    pids = [line["pid"] for line in studio.stack.renderings() if line["job_id"] == job_id]
    assert len(set(pids)) == 2
    assert studio.stack.worker.returncode is None


def test_a_poison_job_fails_after_three_workers_and_harms_no_other(studio: Studio) -> None:
    poison = studio.post(seed=POISON_SEED)
    others = [studio.post() for _ in range(3)]
    studio.finished(*others)
    job = studio.client.wait(poison, TIMEOUT_S)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "worker_lost"
    assert studio.attempts(poison) == 3
    assert [studio.attempts(job_id) for job_id in others] == [1, 1, 1]


@pytest.mark.parametrize("victim", ["worker", "render process"])
def test_a_worker_killed_between_upload_and_publication(studio: Studio, victim: str) -> None:
    # Given a result in storage, of which Redis, frozen, has not been told
    job_id = studio.post()
    studio.wait_for_rendering(job_id)
    os.kill(studio.stack.redis.pid, signal.SIGSTOP)
    storage = studio.stack.data_dir / "storage"
    wait_until(lambda: any(storage.rglob(f"jobs/{job_id}/attempt-1/result.mp4")), TIMEOUT_S, what="an upload")
    # When the worker, or its child alone, dies before it can tell
    if victim == "worker":
        studio.stack.worker.kill()
    else:
        studio.kill_render_process()
    os.kill(studio.stack.redis.pid, signal.SIGCONT)
    if victim == "worker":
        studio.stack.worker = studio.stack.start_worker()
    # Then another one finishes the job with what was saved
    (job,) = studio.finished(job_id)
    assert job.result is not None
    assert studio.attempts(job_id) == 2


def test_redis_that_is_frozen_is_a_quick_503_for_all_who_ask_at_once(studio: Studio) -> None:
    os.kill(studio.stack.redis.pid, signal.SIGSTOP)
    try:
        answers = _ask_at_once(studio, 100)
    finally:
        os.kill(studio.stack.redis.pid, signal.SIGCONT)
    assert {status for status, _, _ in answers} == {503}
    assert all(retry_after for _, retry_after, _ in answers)
    assert max(seconds for _, _, seconds in answers) < SOON_S


def _ask_at_once(studio: Studio, number: int) -> list[tuple[int, str | None, float]]:
    """POST so many jobs at the same time; of each answer its status, its Retry-After, and how long it took."""
    answers: list[tuple[int, str | None, float]] = []

    def ask() -> None:
        started = time.monotonic()
        answer = studio.post_raw()
        answers.append((answer.status_code, answer.headers.get("Retry-After"), time.monotonic() - started))

    threads = [threading.Thread(target=ask) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_redis_without_memory_takes_no_job_and_loses_none(studio: Studio) -> None:
    # Given a job that runs
    job_id = studio.post()
    studio.wait_for_rendering(job_id)
    # When Redis has no room left
    with studio.redis() as redis:
        redis.config_set("maxmemory", 1)
        refusal = studio.post_raw()
        reading = httpx.get(f"{studio.stack.url}/jobs/{job_id}", trust_env=False)
        time.sleep(4)  # longer than a lease, and than the rest of the render takes
        redis.config_set("maxmemory", 0)
    # Then nothing new is taken, what is there can be read, and the job still ends once
    assert (refusal.status_code, refusal.json()["code"]) == (503, "queue_unavailable")
    assert refusal.headers["Retry-After"]
    assert reading.status_code == 200
    studio.finished(job_id)


def test_redis_killed_and_away_for_several_leases(studio: Studio) -> None:
    # Given a job that runs and jobs that wait
    ids = [studio.post() for _ in range(4)]
    studio.wait_for_rendering(ids[0])
    # When Redis is killed, and stays away for half a minute: ten leases
    studio.stack.redis.kill()
    time.sleep(OUTAGE_S)
    refusal = studio.post_raw()
    studio.restart_redis()
    # Then what was accepted is in its log, and every job ends once
    assert refusal.status_code == 503
    studio.finished(*ids)


def test_a_redis_that_was_emptied_is_worked_with_on(studio: Studio) -> None:
    # Given a job that runs and one that waits
    lost = [studio.post(), studio.post()]
    studio.wait_for_rendering(lost[0])
    # When everything in Redis is thrown away
    with studio.redis() as redis:
        redis.flushall()
    # Then the jobs are gone, and who asks is told so; their files stay for now
    answers = [httpx.get(f"{studio.stack.url}/jobs/{job_id}", trust_env=False) for job_id in lost]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "job_not_found")] * 2
    assert any((studio.stack.data_dir / "storage" / "objects" / "uploads").iterdir())
    # And the same API and the same worker take the next job
    studio.upload_inputs()
    studio.finished(studio.post())
    assert not studio.published().keys() & set(lost)
    studio.stack.check()
