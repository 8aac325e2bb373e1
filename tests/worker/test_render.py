"""One attempt at a job, and every way it can end."""

import gc
import hashlib
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from core.errors import ErrorCode, QueueUnavailable
from core.jobs import Job, JobOptions, JobResult, JobStatus
from core.preflight import thumbnail_key
from core.private_urls import PrivateUrls
from core.storage.protocol import OnChunk
from model.errors import NoFaceFound
from model.plan import DubOptions
from model.progress import Stage, StageProgress
from model.survey import Survey
from tests.worker.fakes import FakePipeline
from tests.worker.house import House
from worker.render import run_render

UPLOAD = "0" * 32


def at_segment(number: int, action: Callable[[], Any]) -> Callable[[StageProgress], None]:
    """Interference: act once, in the middle of the render of the segment with this number."""
    seen = []

    def interfere(progress: StageProgress) -> None:
        if progress.stage is Stage.DENOISE and progress.frames_done == 2:
            seen.append(progress)
            if len(seen) == number + 1:
                action()

    return interfere


def fail_with(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


def wait_for_keeper() -> None:
    """Longer than one tick of the lease keeper."""
    time.sleep(0.7)


def result_text(house: House, job: Job) -> str:
    result = house.store.get(job.id).result
    assert result is not None
    return b"".join(house.storage.open_stream(result.key)).decode()


WHOLE = "segment 0 of clip\nsegment 1 of clip\nsegment 2 of clip\n"


def test_a_job_ends_with_its_result_in_storage_and_nothing_else_left(house: House) -> None:
    job, pipeline = house.post(), FakePipeline()

    run_render(house.claim(job.id), house.bench(pipeline))

    done = house.store.get(job.id)
    assert done.status is JobStatus.SUCCEEDED
    assert done.result is not None
    assert done.result.key == f"jobs/{job.id}/attempt-1/result.mp4"
    assert done.result.bytes == len(WHOLE)
    assert result_text(house, job) == WHOLE
    assert house.objects(job) == ["attempt-1/result.mp4", "plan.json", "preflight/s0f0.jpg"]
    assert list(house.scratch.jobs.iterdir()) == []


def test_a_result_is_named_and_typed_by_its_container(house: House) -> None:
    output = {"container": "mov", "codec": "prores", "audio_codec": "pcm"}
    job, put_file = house.post(options=JobOptions.model_validate({"output": output})), house.storage.put_file
    types: dict[str, str] = {}

    def note_type(key: str, path: Path, content_type: str, on_chunk: OnChunk) -> Any:
        types[Path(key).name] = content_type
        return put_file(key, path, content_type, on_chunk)

    house.storage.put_file = note_type  # type: ignore[method-assign]
    run_render(house.claim(job.id), house.bench(FakePipeline()))

    result = house.store.get(job.id).result
    assert result is not None
    assert result.key == f"jobs/{job.id}/attempt-1/result.mov"
    assert types["result.mov"] == "video/quicktime"


def test_the_record_shows_what_was_found_before_anything_is_rendered(house: House) -> None:
    job = house.post()
    seen: list[Job] = []

    run_render(
        house.claim(job.id),
        house.bench(FakePipeline(interfere=at_segment(0, lambda: seen.append(house.store.get(job.id))))),
    )

    report = seen[0].preflight
    assert report is not None
    assert (report.video.width, report.video.frames, report.frames_to_render, report.shots_total) == (64, 12, 12, 1)
    assert [(face.id, face.frames, face.share, face.height) for face in report.faces] == [("s0f0", 12, 1.0, 70.0)]
    assert report.faces[0].profile_share is None
    assert b"".join(house.storage.open_stream(thumbnail_key(job.id, "s0f0"))) == b"a face"
    assert house.store.get(job.id).preflight == report


def test_a_preflight_ends_with_its_report_and_renders_nothing(house: House) -> None:
    job, pipeline = house.post(options=JobOptions(preflight_only=True)), FakePipeline()

    run_render(house.claim(job.id), house.bench(pipeline))

    done = house.store.get(job.id)
    assert (done.status, done.result) == (JobStatus.SUCCEEDED, None)
    assert done.preflight is not None
    assert (pipeline.analysed, pipeline.rendered) == (1, [])
    assert house.objects(job) == ["preflight/s0f0.jpg"]


def test_a_preflight_needs_no_voice(house: House) -> None:
    job = house.post(options=JobOptions(preflight_only=True), audio_url=None)

    run_render(house.claim(job.id), house.bench(FakePipeline()))

    report = house.store.get(job.id).preflight
    assert report is not None
    assert report.voice is None
    assert house.web.visits == ["http://studio.test/clip"]


def test_a_preflight_of_a_face_that_is_not_there_is_a_warning_and_a_dub_of_it_a_failure(house: House) -> None:
    look, dub = (house.post(options=JobOptions(face="s9f9", preflight_only=only)) for only in (True, False))

    for job in (look, dub):
        run_render(house.claim(job.id), house.bench(FakePipeline()))

    report, failed = house.store.get(look.id).preflight, house.store.get(dub.id)
    assert report is not None
    assert [notice.code for notice in report.warnings] == ["face_track_not_found"]
    assert report.frames_to_render == 0
    assert failed.error is not None
    assert failed.error.code is ErrorCode.FACE_TRACK_NOT_FOUND
    assert failed.preflight == report, "which says why, though the files are gone"
    assert house.objects(dub) == []


def test_the_time_to_expect_follows_from_the_jobs_before(house: House) -> None:
    bench = house.bench(FakePipeline())
    jobs = [house.post(), house.post(), house.post(options=JobOptions(num_inference_steps=3))]

    for job in jobs:
        run_render(house.claim(job.id), bench)

    first, second, of_another_kind = (house.store.get(job.id).preflight for job in jobs)
    assert first is not None
    assert second is not None
    assert of_another_kind is not None
    assert first.expected_time is None
    assert second.expected_time is not None
    assert "1 jobs of 20 steps with guidance" in second.expected_time.basis
    assert of_another_kind.expected_time is None


def test_a_report_that_the_store_cannot_take_yet_is_a_delay(house: House) -> None:
    job = house.post()
    lease, report, refusals = house.claim(job.id), house.store.report_preflight, [QueueUnavailable("away")]

    def flaky_report(*arguments: Any) -> None:
        if refusals:
            raise refusals.pop()
        report(*arguments)

    house.store.report_preflight = flaky_report  # type: ignore[method-assign]
    run_render(lease, house.bench(FakePipeline()))

    assert house.store.get(job.id).preflight is not None
    assert house.store.get(job.id).status is JobStatus.SUCCEEDED


def test_inputs_come_from_uploads_too(house: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"uploaded")
    house.storage.put_file(f"uploads/{UPLOAD}", tmp_path / "file", "video/mp4")
    job = house.post(video_url=f"upload://{UPLOAD}")

    run_render(house.claim(job.id), house.bench(FakePipeline(segments=1)))

    assert result_text(house, job) == "segment 0 of uploaded\n"


def test_a_sealed_address_is_opened_for_its_server_alone(house: House) -> None:
    house.web.pages["http://studio.test/clip?token=hunter2"] = b"secret clip"
    urls = PrivateUrls(house.settings.secret_key)
    job = house.post(video_url=urls.seal("http://studio.test/clip?token=hunter2"))

    run_render(house.claim(job.id), house.bench(FakePipeline(segments=1)))

    assert result_text(house, job) == "segment 0 of secret clip\n"
    assert house.store.get(job.id).video_url == "http://studio.test/clip"


def test_an_address_that_cannot_be_opened_any_more_fails_the_job_by_name(house: House) -> None:
    urls = PrivateUrls(SecretStr("the key of another year, long enough"))
    job = house.post(video_url=urls.seal("http://studio.test/clip?token=hunter2"))

    run_render(house.claim(job.id), house.bench(FakePipeline()))

    error = house.store.get(job.id).error
    assert error is not None
    assert error.code is ErrorCode.SECRET_KEY_CHANGED


@pytest.mark.parametrize(
    ("error", "code"),
    [(NoFaceFound("No frame shows a face."), ErrorCode.NO_FACE_FOUND), (ZeroDivisionError(), ErrorCode.INTERNAL_ERROR)],
)
def test_an_error_fails_the_job_and_leaves_nothing_behind(house: House, error: Exception, code: ErrorCode) -> None:
    job = house.post()

    run_render(house.claim(job.id), house.bench(FakePipeline(interfere=at_segment(1, fail_with(error)))))

    failed = house.store.get(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error.code is code
    assert bool(house.restarts) is (code is ErrorCode.INTERNAL_ERROR)
    assert house.objects(job) == []
    assert list(house.scratch.jobs.iterdir()) == []


def test_a_missing_upload_fails_the_job(house: House) -> None:
    job = house.post(video_url=f"upload://{UPLOAD}")
    run_render(house.claim(job.id), house.bench(FakePipeline()))
    error = house.store.get(job.id).error
    assert error is not None
    assert error.code is ErrorCode.UPLOAD_NOT_FOUND


def test_an_upload_over_the_limit_fails_the_job_before_it_is_fetched(house: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"uploaded")
    house.storage.put_file(f"uploads/{UPLOAD}", tmp_path / "file", "video/mp4")
    job = house.post(video_url=f"upload://{UPLOAD}")
    settings = house.settings.model_copy(update={"input_max_bytes": 7})

    run_render(house.claim(job.id), house.bench(FakePipeline(), settings=settings))

    error = house.store.get(job.id).error
    assert error is not None
    assert error.code is ErrorCode.INPUT_TOO_LARGE


@pytest.mark.parametrize("url", [f"upload://{UPLOAD}", "http://studio.test/clip"])
def test_a_file_that_is_not_the_announced_one_fails_the_job(house: House, tmp_path: Path, url: str) -> None:
    (tmp_path / "file").write_bytes(b"another clip")
    house.storage.put_file(f"uploads/{UPLOAD}", tmp_path / "file", "video/mp4")
    job = house.post(video_url=url, input_sha256={url: hashlib.sha256(b"the right clip").hexdigest()})
    pipeline = FakePipeline()

    run_render(house.claim(job.id), house.bench(pipeline))

    failed = house.store.get(job.id)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobStatus.FAILED, ErrorCode.CHECKSUM_MISMATCH)
    assert pipeline.analysed == 0


def test_a_file_that_is_the_announced_one_is_rendered(house: House) -> None:
    url = "http://studio.test/clip"
    job = house.post(input_sha256={url: hashlib.sha256(b"clip").hexdigest()})
    run_render(house.claim(job.id), house.bench(FakePipeline()))
    assert house.store.get(job.id).status is JobStatus.SUCCEEDED


def test_a_canceled_job_stops_within_two_seconds_and_leaves_nothing_behind(house: House) -> None:
    job = house.post()
    asked: list[float] = []

    def cancel() -> None:
        house.store.request_cancel(job.id)
        asked.append(time.monotonic())
        wait_for_keeper()

    pipeline = FakePipeline(interfere=at_segment(1, cancel))
    run_render(house.claim(job.id), house.bench(pipeline))

    assert house.store.get(job.id).status is JobStatus.CANCELED
    assert time.monotonic() - asked[0] < 2.0
    assert pipeline.rendered == [0]
    assert house.objects(job) == []
    assert list(house.scratch.jobs.iterdir()) == []


def test_a_job_that_is_canceled_while_a_file_is_fetched_takes_no_more_of_it(house: House, tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(b"x" * 20_000_000)
    house.storage.put_file(f"uploads/{UPLOAD}", tmp_path / "film", "video/mp4")
    job = house.post(video_url=f"upload://{UPLOAD}")
    chunks: list[int] = []
    fetch_file = house.storage.fetch_file

    def cancel_at_the_third_chunk(key: str, path: Path, on_chunk: OnChunk) -> Any:
        def look_on() -> None:
            chunks.append(1)
            if len(chunks) == 3:
                house.store.request_cancel(job.id)
                wait_for_keeper()
            on_chunk()

        return fetch_file(key, path, look_on)

    house.storage.fetch_file = cancel_at_the_third_chunk  # type: ignore[method-assign]
    run_render(house.claim(job.id), house.bench(FakePipeline()))

    assert house.store.get(job.id).status is JobStatus.CANCELED
    assert len(chunks) == 3


class Tensors:
    """What a render holds: on a GPU, its memory."""


class HoldingPipeline(FakePipeline):
    """Notes what its render holds."""

    held: "weakref.ref[Tensors] | None" = None

    def render_segment(self, *arguments: Any) -> None:
        tensors = Tensors()
        self.held = weakref.ref(tensors)
        super().render_segment(*arguments)


@pytest.mark.parametrize("reason", ["canceled", "lost", "stopping"])
def test_a_render_that_is_stopped_lets_go_of_what_it_held_at_once(house: House, reason: str) -> None:
    job = house.post()
    lease = house.claim(job.id)
    stop = {
        "canceled": lambda: house.store.request_cancel(job.id),
        "lost": lambda: house.store.release(lease),
        "stopping": house.flags.stop,
    }[reason]
    pipeline = HoldingPipeline(interfere=at_segment(1, lambda: (stop(), wait_for_keeper())))
    gc.disable()
    try:
        run_render(lease, house.bench(pipeline))
        assert pipeline.held is not None
        assert pipeline.held() is None
    finally:
        gc.enable()
    assert pipeline.rendered == [0]


def test_a_worker_that_stops_hands_its_job_to_the_next_which_renders_only_the_rest(house: House) -> None:
    job = house.post()
    first, second = FakePipeline(interfere=at_segment(2, house.flags.stop)), FakePipeline()

    run_render(house.claim(job.id), house.bench(first))

    assert house.store.get(job.id).status is JobStatus.QUEUED
    assert house.queue.take() == job.id
    assert first.rendered == [0, 1]

    run_render(house.claim(job.id), house.bench(second, stopping=lambda: False))

    assert (second.analysed, second.rendered) == (0, [2])
    assert house.store.get(job.id).status is JobStatus.SUCCEEDED
    assert result_text(house, job) == WHOLE


def test_voices_of_segments_are_fetched_and_finished_segments_survive_a_lost_worker(house: House) -> None:
    # Given a job with the voice of the job for one segment and a voice of its own for another
    house.web.pages["http://studio.test/line"] = b"line"
    own = "http://studio.test/line"
    options = {"segments": [{"start_s": 0, "end_s": 0.2}, {"start_s": 0.2, "end_s": 0.4, "audio_url": own}]}
    job = house.post(options=JobOptions.model_validate(options))
    heard: list[list[str]] = []

    class Listening(FakePipeline):
        def survey(self, video: Path, audio: Path | None, options: DubOptions, *rest: Any, **more: Any) -> Survey:
            voices = [passage.audio_path or audio for passage in options.passages]
            heard.append([voice.read_text() for voice in voices if voice])
            return super().survey(video, audio, options, *rest, **more)

    # When its worker stops in the middle and another goes on, in a folder of its own
    first, second = Listening(interfere=at_segment(2, house.flags.stop)), Listening()
    run_render(house.claim(job.id), house.bench(first))
    run_render(house.claim(job.id), house.bench(second, stopping=lambda: False))
    # Then each segment had its voice, and what was rendered is not rendered again
    assert heard == [["voice", "line"]]
    assert (first.rendered, second.analysed, second.rendered) == ([0, 1], 0, [2])
    assert second.voices == [b"voice"]
    assert house.store.get(job.id).status is JobStatus.SUCCEEDED
    assert result_text(house, job) == WHOLE


def test_another_voice_of_a_segment_at_the_next_attempt_is_rendered_from_the_start(house: House) -> None:
    own = "http://studio.test/line"
    house.web.pages[own] = b"line"
    options = {"segments": [{"start_s": 0, "end_s": 0.4, "audio_url": own}]}
    job = house.post(audio_url=None, options=JobOptions.model_validate(options))
    run_render(house.claim(job.id), house.bench(FakePipeline(interfere=at_segment(2, house.flags.stop))))
    house.web.pages[own] = b"another line"

    second = FakePipeline()
    run_render(house.claim(job.id), house.bench(second, stopping=lambda: False))

    assert second.rendered == [0, 1, 2]


def test_other_inputs_at_the_next_attempt_are_rendered_from_the_start(house: House) -> None:
    job = house.post()
    run_render(house.claim(job.id), house.bench(FakePipeline(interfere=at_segment(2, house.flags.stop))))
    house.web.pages["http://studio.test/clip"] = b"another clip"

    second = FakePipeline()
    run_render(house.claim(job.id), house.bench(second, stopping=lambda: False))

    assert (second.analysed, second.rendered) == (1, [0, 1, 2])
    assert result_text(house, job) == WHOLE.replace("clip", "another clip")


def test_other_weights_at_the_next_attempt_render_everything_again(house: House) -> None:
    job = house.post()
    run_render(house.claim(job.id), house.bench(FakePipeline(interfere=at_segment(2, house.flags.stop))))

    second = FakePipeline()
    run_render(house.claim(job.id), house.bench(second, stopping=lambda: False, weights_sha256="others"))

    assert second.rendered == [0, 1, 2]


def test_a_job_taken_over_by_another_worker_is_let_go_without_a_word(house: House) -> None:
    job = house.post()
    clock = [time.time()]
    house.store = type(house.store)(lease_ttl_s=60.0, clock=lambda: clock[0])
    house.store.create(job)

    def take_over() -> None:
        clock[0] += 100.0
        house.store.recover_lost(3)
        house.claim(job.id)
        wait_for_keeper()

    pipeline = FakePipeline(interfere=at_segment(1, take_over))
    run_render(house.claim(job.id), house.bench(pipeline))

    now = house.store.get(job.id)
    assert (now.status, now.attempts) == (JobStatus.RUNNING, 2)
    assert pipeline.rendered == [0]
    assert "segments/0.mkv" in house.objects(job)


def test_the_end_of_a_job_calls_a_worker_for_one_that_waited_for_its_place(house: House) -> None:
    house.store.limit_running("local", 1)
    first, second = house.post(), house.post()
    lease = house.claim(first.id)
    assert house.store.claim_next("another") is None  # it took the message for the second job

    run_render(lease, house.bench(FakePipeline()))

    assert house.queue.waiting() == 1
    house.claim(second.id)


def test_a_job_that_expires_stops_and_leaves_nothing_behind(house: House) -> None:
    clock = [time.time()]
    house.store = type(house.store)(lease_ttl_s=60.0, clock=lambda: clock[0])
    job = house.post(deadline_at=datetime.now(UTC) + timedelta(seconds=100))

    def expire() -> None:
        clock[0] += 101.0
        house.store.expire_overdue()
        wait_for_keeper()

    pipeline = FakePipeline(interfere=at_segment(1, expire))
    run_render(house.claim(job.id), house.bench(pipeline))

    assert house.store.get(job.id).status is JobStatus.EXPIRED
    assert pipeline.rendered == [0]
    assert house.objects(job) == []
    assert list(house.scratch.jobs.iterdir()) == []


def test_a_job_that_expires_at_the_last_moment_leaves_no_result(house: House) -> None:
    clock = [time.time()]
    house.store = type(house.store)(lease_ttl_s=60.0, clock=lambda: clock[0])
    job = house.post(deadline_at=datetime.now(UTC) + timedelta(seconds=100))
    succeed = house.store.succeed

    def succeed_too_late(*arguments: Any) -> None:
        clock[0] += 101.0
        house.store.expire_overdue()
        succeed(*arguments)

    house.store.succeed = succeed_too_late  # type: ignore[method-assign]
    run_render(house.claim(job.id), house.bench(FakePipeline()))

    assert (house.store.get(job.id).status, house.store.get(job.id).result) == (JobStatus.EXPIRED, None)
    assert house.objects(job) == []


def test_a_finished_job_tells_where_its_time_went(house: House) -> None:
    job = house.post()
    run_render(house.claim(job.id), house.bench(FakePipeline()))
    timings = house.store.get(job.id).timings
    assert {"fetch", "denoise", "composite", "publish"} <= set(timings)
    assert all(seconds >= 0 for seconds in timings.values())


def test_a_short_outage_of_storage_is_a_delay(house: House) -> None:
    job = house.post()
    house.storage.outages = 2
    run_render(house.claim(job.id), house.bench(FakePipeline()))
    assert house.store.get(job.id).status is JobStatus.SUCCEEDED


def test_a_long_outage_of_storage_sends_the_job_back_until_its_attempts_are_used_up(house: House) -> None:
    job = house.post()
    pipeline = FakePipeline()
    for attempt in range(1, house.settings.max_attempts + 1):
        house.storage.outages = 1000
        run_render(house.claim(job.id), house.bench(pipeline, storage_patience_s=0.1))
        last = attempt == house.settings.max_attempts
        assert house.store.get(job.id).status is (JobStatus.FAILED if last else JobStatus.QUEUED)
    error = house.store.get(job.id).error
    assert error is not None
    assert error.code is ErrorCode.STORAGE_UNAVAILABLE


def test_a_job_store_that_is_away_at_the_end_gets_the_result_when_it_is_back(house: House) -> None:
    job = house.post()
    lease = house.claim(job.id)
    succeed, refusals = house.store.succeed, [QueueUnavailable("away"), QueueUnavailable("away")]

    def flaky_succeed(*arguments: Any) -> None:
        if refusals:
            raise refusals.pop()
        succeed(*arguments)

    house.store.succeed = flaky_succeed  # type: ignore[method-assign]
    run_render(lease, house.bench(FakePipeline()))

    assert refusals == []
    assert house.store.get(job.id).status is JobStatus.SUCCEEDED


def test_progress_and_renewal_survive_an_outage_of_the_job_store(house: House) -> None:
    job = house.post()
    lease = house.claim(job.id)
    working = {name: getattr(house.store, name) for name in ("get", "renew", "report_progress")}

    def away(*arguments: Any) -> Any:
        raise QueueUnavailable("away")

    def go_away() -> None:
        for name in working:
            setattr(house.store, name, away)
        wait_for_keeper()

    def come_back() -> None:
        for name, method in working.items():
            setattr(house.store, name, method)

    away_then_back = [at_segment(0, go_away), at_segment(1, come_back)]
    run_render(lease, house.bench(FakePipeline(interfere=lambda p: [act(p) for act in away_then_back] and None)))

    assert house.store.get(job.id).status is JobStatus.SUCCEEDED


def test_progress_in_the_record_names_the_stage_and_grows(house: House) -> None:
    job = house.post()
    seen: list[tuple[str, float]] = []

    def look() -> None:
        wait_for_keeper()
        progress = house.store.get(job.id).progress
        assert progress is not None
        seen.append((progress.stage, progress.fraction))

    looks = [at_segment(number, look) for number in range(3)]
    run_render(house.claim(job.id), house.bench(FakePipeline(interfere=lambda p: [act(p) for act in looks] and None)))

    fractions = [fraction for _, fraction in seen]
    assert [stage for stage, _ in seen] == ["denoise"] * 3
    assert fractions == sorted(set(fractions))


def test_a_result_that_arrives_damaged_is_not_published(house: House) -> None:
    job = house.post()
    put_file = house.storage.put_file

    def damage(key: str, path: Path, content_type: str, on_chunk: OnChunk) -> Any:
        if key.endswith("result.mp4"):
            path = path.with_suffix(".cut")
            path.write_bytes(b"half")
        return put_file(key, path, content_type, on_chunk)

    house.storage.put_file = damage  # type: ignore[method-assign]
    run_render(house.claim(job.id), house.bench(FakePipeline()))

    record = house.store.get(job.id)
    assert record.status is JobStatus.QUEUED
    assert record.result is None


def test_the_result_is_described_as_it_lies_in_storage(house: House) -> None:
    job = house.post()
    run_render(house.claim(job.id), house.bench(FakePipeline()))
    result = house.store.get(job.id).result
    assert isinstance(result, JobResult)
    assert result.sha256 == house.storage.stat(result.key).sha256
    assert (result.width, result.height, result.fps, result.frames, result.weights) == (64, 48, 25.0, 12, "fake")
