"""What a job is: its id, and the states it may go through."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from core.jobs import JOB_ID_PATTERN, TRANSITIONS, Job, JobOptions, JobStatus, new_job_id


def test_ids_sort_by_time_of_creation() -> None:
    ids = []
    for _ in range(5):
        ids.append(new_job_id())
        time.sleep(0.002)
    assert ids == sorted(ids)


def test_ids_carry_128_random_bits() -> None:
    """Given many ids of the same moment, every one of the bits behind the time takes both values."""
    random_parts = [
        int(bytes("0123456789abcdefghjkmnpqrstvwxyz".index(c) for c in new_job_id()[10:]).hex(), 16) for _ in range(200)
    ]
    ones = zeros = 0
    for part in random_parts:
        ones |= part
        zeros |= ~part
    assert len(set(random_parts)) == 200
    assert (ones & zeros).bit_count() == 128


def test_ids_are_plain() -> None:
    for _ in range(100):
        assert re.fullmatch(JOB_ID_PATTERN, new_job_id())


def test_every_status_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(JobStatus)


def test_over_means_that_nothing_follows() -> None:
    assert {status for status in JobStatus if not status.is_terminal} == {JobStatus.QUEUED, JobStatus.RUNNING}


def test_only_a_running_job_succeeds_or_fails_and_only_a_queued_one_starts() -> None:
    for status, followers in TRANSITIONS.items():
        assert (JobStatus.RUNNING in followers) == (status is JobStatus.QUEUED)
        assert (JobStatus.SUCCEEDED in followers) == (JobStatus.FAILED in followers) == (status is JobStatus.RUNNING)


def job_with(**fields: Any) -> Job:
    return Job(id=new_job_id(), video_url="https://v.org/a", created_at=datetime.now(UTC), **fields)


def test_a_record_keeps_no_query_that_can_be_read_wherever_the_url_stands() -> None:
    segment = {"start_s": 0, "end_s": 1, "audio_url": "https://v.org/b?token=1"}
    with pytest.raises(ValidationError, match="must be sealed"):
        job_with(options={"segments": [segment]})
    sealed = job_with(options={"segments": [segment | {"audio_url": "https://v.org/b?sealed=gA="}]})
    assert Job.model_validate_json(sealed.model_dump_json()) == sealed


def test_the_inputs_of_a_job_are_all_it_fetches() -> None:
    segments = [{"start_s": n, "end_s": n + 1, "audio_url": url} for n, url in enumerate(["upload://c", None])]
    job = job_with(audio_url="upload://b", options={"segments": segments})
    assert job.input_urls == ("https://v.org/a", "upload://b", "upload://c")
    assert not job.options.have_all_voices
    assert not JobOptions().have_all_voices
