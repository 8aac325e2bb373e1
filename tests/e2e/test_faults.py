"""The real networks through a deploy and a kill; other faults meet a stub in their place, in test_worker_faults."""

from pathlib import Path

import pytest

from tests.e2e.house import JOB_TIMEOUT_S, Studio
from tests.servers import wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def long_job(studio: Studio, long_clip: Path, long_line: Path) -> str:
    """A job of two segments that has finished its first."""
    wait_until(studio.stack.is_ready, JOB_TIMEOUT_S, what="a worker")
    job_id = studio.post(studio.client.upload(long_clip), studio.client.upload(long_line), num_inference_steps=2)
    studio.wait_for_segment(job_id)
    return job_id


def check_finished_once(studio: Studio, job_id: str) -> None:
    """The job succeeded with one result, and every segment was rendered exactly once."""
    job = studio.wait(job_id)
    assert job.result is not None, job.error
    assert job.result.frames == 120
    results = list((studio.stack.data_dir / "storage").rglob(f"jobs/{job_id}/attempt-*/result.mp4"))
    assert len(results) == 1
    assert studio.rendered(job_id) == [0, 1]


def test_a_worker_told_to_stop_hands_its_job_to_the_next(studio: Studio, long_job: str) -> None:
    studio.stack.worker.stop(grace_s=30)
    assert studio.client.job(long_job).status == "queued"
    studio.replace_worker()
    check_finished_once(studio, long_job)


def test_a_worker_killed_while_it_renders_leaves_the_rest_to_the_next(studio: Studio, long_job: str) -> None:
    studio.wait_for_stage(long_job, "denoise")
    studio.stack.worker.kill()
    assert studio.client.job(long_job).status == "running"
    studio.replace_worker()
    check_finished_once(studio, long_job)
