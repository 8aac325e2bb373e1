"""The client against the real API: what it sends is taken, and what it shows is what the API says."""

import inspect
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import client
from client import (
    BatchNotFound,
    HighSync,
    InvalidBatch,
    Job,
    JobFailed,
    JobNotCancelable,
    JobNotFound,
    JobNotOver,
    JobNotRetryable,
    WaitedTooLong,
)
from client.upload import PARTS_FROM_BYTES
from core.errors import CATALOGUE, ErrorCode
from core.jobs import AttemptRecord, JobFailure, JobId, JobStatus, Progress
from core.outgoing import FetchPolicy
from core.preflight import ExpectedTime, PreflightNotice
from core.private_urls import PrivateUrls
from core.uploads import UploadId
from core.webhooks import Courier
from service.batches.schemas import BatchCheck, BatchView
from service.errors import FieldError
from service.jobs import schemas
from service.webhooks.schemas import DeliveryView, ReplayView, SecretView
from tests.client.conftest import DUBBED, VIDEO, VOICE, Service
from tests.core.houses import PREFLIGHT, RESULT
from tests.servers import wait_until


def test_a_job_is_submitted_with_all_that_was_said(highsync: HighSync, service: Service) -> None:
    accepted = highsync.submit(VIDEO, VOICE, metadata={"scene": 12}, seed=7, sync_mode="loop")

    job = highsync.job(accepted.id)
    assert accepted.status == job.status == client.JobStatus.QUEUED
    assert (job.video_url, job.audio_url, job.metadata) == (VIDEO, VOICE, {"scene": 12})
    assert (job.options["seed"], job.options["sync_mode"]) == (7, "loop")


def test_all_that_a_job_may_say_has_a_name_in_submit() -> None:
    named = inspect.signature(HighSync.submit).parameters
    by_another_name = {"video_url": "video", "audio_url": "audio"}
    assert {by_another_name.get(field, field) for field in schemas.NewJob.model_fields} <= set(named)


def test_a_webhook_is_told_what_was_asked_for(highsync: HighSync, service: Service) -> None:
    accepted = highsync.submit(
        VIDEO, VOICE, webhook_url="https://studio.example.com/hook", webhook_events=("job.started", "job.failed")
    )

    assert service.services.store.get(JobId(accepted.id)).webhook_events == ("job.started", "job.failed")


def test_webhooks_are_listed_and_sent_again_and_the_secret_is_changed(highsync: HighSync, service: Service) -> None:
    # Given a job whose receiver cannot be reached
    job_id = highsync.submit(VIDEO, VOICE, webhook_url="https://studio.example.com/hook").id
    highsync.cancel(job_id)
    house = service.services
    closed = FetchPolicy.from_settings(house.settings.model_copy(update={"fetch_deny": "studio.example.com"}))
    urls = PrivateUrls(house.settings.secret_key)
    Courier(house.store, house.outbox, house.webhook_secrets, urls, closed, lambda about: {}).deliver_due()

    # When its owner looks, and has it sent again
    (delivery,) = highsync.webhooks.deliveries(job_id=job_id)
    replay = highsync.webhooks.replay(delivery.id)
    first, second = (highsync.webhooks.rotate_secret() for _ in range(2))

    # Then all is shown
    assert (delivery.job_id, delivery.event) == (job_id, "job.canceled")
    assert delivery.outcome in ("blocked", "unreachable")  # as this machine knows such a name or not
    assert (replay.job_id, replay.message_id) == (job_id, delivery.message_id)
    assert first.secret.get_secret_value().startswith("whsec_")
    assert second.secret != first.secret
    assert second.previous_until is not None
    with pytest.raises(client.NotFound):
        highsync.webhooks.replay("../..")
    with pytest.raises(client.InvalidRequest):
        highsync.webhooks.deliveries()


def test_dub_brings_files_in_follows_the_job_and_brings_the_result_back(
    highsync: HighSync, service: Service, tmp_path: Path
) -> None:
    # Given two files, and a worker that takes the job once it is there
    (tmp_path / "scene.mp4").write_bytes(b"\x00a scene")
    (tmp_path / "voice.wav").write_bytes(b"\x00a voice")
    seen: list[Job] = []

    def work(job: Job) -> None:
        seen.append(job)
        if job.status == "queued":
            threading.Thread(target=service.work, args=(job.id,)).start()

    # When it is dubbed
    out = tmp_path / "dubbed.mp4"
    job = highsync.dub(tmp_path / "scene.mp4", str(tmp_path / "voice.wav"), out, on_change=work, timeout_s=60)
    # Then the result is here, and the service had the files
    assert out.read_bytes() == DUBBED
    assert job.result is not None
    assert job.result.bytes == len(DUBBED)
    assert [change.status for change in seen] == ["queued", "succeeded"]
    stored = b"".join(service.services.storage.open_stream(f"uploads/{job.video_url.removeprefix('upload://')}"))
    assert stored == b"\x00a scene"


def test_voices_of_segments_are_brought_in_too(highsync: HighSync, service: Service, tmp_path: Path) -> None:
    (tmp_path / "line.wav").write_bytes(b"\x00a line")
    segments = [
        {"start_s": 0, "end_s": 1, "audio_url": tmp_path / "line.wav"},
        {"start_s": 1, "end_s": 2, "audio_url": VOICE, "face": "s0f1"},
    ]

    job = highsync.job(highsync.submit(VIDEO, None, segments=segments).id)

    first, second = job.options["segments"]
    assert job.audio_url is None
    assert first["audio_url"].startswith("upload://")
    assert (second["audio_url"], second["face"]) == (VOICE, "s0f1")
    assert segments[0]["audio_url"] == tmp_path / "line.wav", "what the caller gave is the caller's"


def test_a_preflight_is_shown_with_its_faces_and_warnings(highsync: HighSync, service: Service) -> None:
    job_id = highsync.submit(VIDEO, None, preflight_only=True).id
    service.services.store.report_preflight(service.claim(job_id), PREFLIGHT)

    report = highsync.job(job_id).preflight

    assert report is not None
    assert [face.id for face in report.faces] == [face.id for face in PREFLIGHT.faces]
    assert report.faces[0].thumbnail_url is not None
    assert [notice.code for notice in report.warnings] == [notice.code for notice in PREFLIGHT.warnings]


def test_a_preflight_is_followed_to_its_end(highsync: HighSync, service: Service) -> None:
    def look() -> None:
        wait_until(lambda: service.services.store.stats().depth > 0, what="a job that waits")
        lease = service.services.store.claim_next("worker-1")
        assert lease is not None
        service.services.store.report_preflight(lease, PREFLIGHT)
        service.services.store.succeed(lease, None)

    worker = threading.Thread(target=look)
    worker.start()
    report = highsync.preflight(VIDEO, timeout_s=60, seed=7)
    worker.join()

    (job,) = highsync.jobs()
    assert (job.options["preflight_only"], job.options["seed"], job.audio_url) == (True, 7, None)
    assert [face.id for face in report.faces] == [face.id for face in PREFLIGHT.faces]


def test_a_large_file_goes_up_in_parts_where_the_storage_takes_them(bucket_service: Service, tmp_path: Path) -> None:
    size = PARTS_FROM_BYTES + 5
    with (tmp_path / "scene.mov").open("wb") as file:
        file.seek(size - 3)
        file.write(b"end")
    with HighSync(bucket_service.url, patience_s=5.0) as highsync:
        small = highsync.upload(__file__)
        large = highsync.upload(tmp_path / "scene.mov")

    storage, uploads = bucket_service.services.storage, bucket_service.services.uploads
    assert storage.fetch_file(f"uploads/{id_of(small)}", tmp_path / "small").bytes == Path(__file__).stat().st_size
    fetched = storage.fetch_file(f"uploads/{id_of(large)}", tmp_path / "large")
    record = uploads.get(UploadId(id_of(large)))
    assert record.multipart is not None
    assert (record.state, record.bytes, record.sha256) == ("ready", size, fetched.sha256)


def id_of(upload: str) -> str:
    return upload.removeprefix("upload://")


def test_watching_shows_each_change_once(highsync: HighSync, service: Service) -> None:
    job_id = highsync.submit(VIDEO, VOICE).id
    changes = highsync.watch(job_id)
    assert next(changes).status == "queued"
    lease = service.claim(job_id)
    service.services.store.report_progress(lease, Progress(stage="denoise", fraction=0.5))
    running = next(changes)
    assert running.progress is not None
    assert (running.status, running.progress.stage, running.progress.fraction) == ("running", "denoise", 0.5)
    service.services.store.fail(lease, JobFailure.of(ErrorCode.NO_FACE_FOUND, "No frame shows a face."))
    assert next(changes).status == "failed"
    assert list(changes) == []


def test_waiting_ends_when_it_takes_too_long(highsync: HighSync) -> None:
    job_id = highsync.submit(VIDEO, VOICE).id
    with pytest.raises(WaitedTooLong, match=f"{job_id} is queued"):
        highsync.wait(job_id, timeout_s=0.1)


def test_a_failed_job_has_no_result_and_says_why(highsync: HighSync, service: Service, tmp_path: Path) -> None:
    job_id = highsync.submit(VIDEO, VOICE).id
    with pytest.raises(JobNotOver):
        highsync.download(job_id, tmp_path / "out.mp4")
    service.services.store.fail(service.claim(job_id), JobFailure.of(ErrorCode.NO_FACE_FOUND, "No frame shows a face."))

    with pytest.raises(JobFailed, match="no_face_found: No frame shows a face") as failed:
        highsync.download(job_id, tmp_path / "out.mp4")

    assert failed.value.failure is not None
    assert failed.value.failure.code == "no_face_found"
    assert failed.value.job.id == job_id
    assert list(tmp_path.glob("*out.mp4*")) == []


def test_a_queued_job_is_canceled_and_purged(highsync: HighSync) -> None:
    job_id = highsync.submit(VIDEO, VOICE).id
    with pytest.raises(JobNotOver):
        highsync.purge(job_id)
    assert highsync.cancel(job_id).status == highsync.cancel(job_id).status == "canceled"
    highsync.purge(job_id)
    with pytest.raises(JobNotFound) as gone:
        highsync.job(job_id)
    assert (gone.value.status, gone.value.code) == (404, "job_not_found")
    assert gone.value.request_id


def test_what_is_over_cannot_be_canceled(highsync: HighSync, service: Service) -> None:
    job_id = highsync.submit(VIDEO, VOICE).id
    service.work(job_id)
    with pytest.raises(JobNotCancelable):
        highsync.cancel(job_id)


def test_what_came_to_nothing_is_tried_again(highsync: HighSync, service: Service) -> None:
    old = highsync.submit(VIDEO, VOICE, start_deadline_s=60, deadline_s=3600, seed=7)
    with pytest.raises(JobNotRetryable):
        highsync.retry(old.id)
    service.services.store.fail(service.claim(old.id), JobFailure.of(ErrorCode.GPU_OOM, "Too large."))

    new = highsync.job(highsync.retry(old.id).id)

    (attempt,) = highsync.job(old.id).attempts
    assert (attempt.number, attempt.outcome) == (1, "failed")
    assert (new.retry_of, new.status, new.attempts, new.options["seed"]) == (old.id, "queued", (), 7)
    assert new.start_deadline_at is not None
    assert new.deadline_at is not None
    assert (new.deadline_at - new.start_deadline_at).total_seconds() == 3540


def test_all_jobs_are_listed_over_all_pages(highsync: HighSync, service: Service) -> None:
    job_ids = [highsync.submit(VIDEO, VOICE).id for _ in range(103)]
    service.work(job_ids[0])
    assert [job.id for job in highsync.jobs()] == job_ids[::-1]
    assert [job.id for job in highsync.jobs("succeeded")] == [job_ids[0]]


def test_a_batch_is_submitted_followed_and_canceled(highsync: HighSync, service: Service) -> None:
    jobs = [{"video_url": VIDEO, "audio_url": VOICE, "metadata": {"scene": scene}} for scene in range(3)]
    first, again = (highsync.batches.submit(jobs, idempotency_key="season-1") for _ in range(2))
    assert first == again
    made = sorted(highsync.jobs(batch_id=first.id), key=lambda job: job.metadata["scene"])
    assert [(job.metadata["scene"], job.batch_id) for job in made] == [(scene, first.id) for scene in range(3)]
    with pytest.raises(WaitedTooLong):
        highsync.batches.wait(first.id, timeout_s=0)

    service.services.store.succeed(service.services.store.claim_next("worker-1"), RESULT)  # type: ignore[arg-type]
    assert highsync.batches.get(first.id).counts[client.JobStatus.SUCCEEDED] == 1
    over = highsync.batches.cancel(first.id)
    assert highsync.batches.wait(first.id) == over
    assert (over.counts[client.JobStatus.CANCELED], over.size) == (2, 3)


def test_a_batch_with_a_wrong_job_says_which_and_why(highsync: HighSync) -> None:
    jobs = [{"video_url": VIDEO, "audio_url": VOICE}, {"video_url": VIDEO, "audio_url": VOICE, "options": {"sead": 1}}]
    assert highsync.batches.check(jobs[:1]).errors == ()
    with pytest.raises(InvalidBatch) as caught:
        highsync.batches.submit(jobs)
    assert caught.value.errors == highsync.batches.check(jobs).errors
    assert [(e.line, e.code, e.field) for e in caught.value.errors] == [(2, "unknown_option", "options.sead")]
    assert list(highsync.jobs()) == []
    with pytest.raises(BatchNotFound):
        highsync.batches.get("b_1")


def test_a_refused_option_is_an_invalid_request_that_names_it(highsync: HighSync) -> None:
    with pytest.raises(client.InvalidRequest, match=r"unknown_option: options\.sead") as refused:
        highsync.submit(VIDEO, VOICE, sead=7)
    assert refused.value.status == 422
    assert refused.value.hint


def test_an_id_with_a_slash_does_not_lead_elsewhere(highsync: HighSync) -> None:
    with pytest.raises(client.NotFound):
        highsync.job("../readyz")


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_a_class_that_says_whose_fault_it_is(code: ErrorCode) -> None:
    kind = client.errors.error_class(CATALOGUE[code].http_status, code)
    assert issubclass(kind, client.ServiceFault) is (CATALOGUE[code].http_status >= 500)
    assert kind is not client.ApiError


def test_the_words_and_fields_are_those_of_the_api() -> None:
    assert list(client.JobStatus) == [status.value for status in JobStatus]
    assert all(client.JobStatus(status).is_terminal == status.is_terminal for status in JobStatus)
    pairs: list[tuple[type[BaseModel], Any]] = [
        (client.Job, schemas.JobView),
        (client.AcceptedJob, schemas.AcceptedJob),
        (client.Result, schemas.ResultView),
        (client.Progress, Progress),
        (client.Failure, JobFailure),
        (client.Attempt, AttemptRecord),
        (client.Preflight, schemas.PreflightView),
        (client.Face, schemas.FaceView),
        (client.Notice, PreflightNotice),
        (client.ExpectedTime, ExpectedTime),
        (client.Batch, BatchView),
        (client.BatchCheck, BatchCheck),
        (client.WrongField, FieldError),
        (client.Delivery, DeliveryView),
        (client.Replay, ReplayView),
        (client.WebhookSecret, SecretView),
    ]
    for ours, theirs in pairs:
        assert set(ours.model_fields) <= set(theirs.model_fields), ours
