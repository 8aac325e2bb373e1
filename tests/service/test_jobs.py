"""Jobs through the API: accepted, followed, listed, canceled, purged."""

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.errors import ErrorCode, QueueUnavailable
from core.job_store import MemoryJobStore
from core.jobs import Job, JobFailure, JobId, JobResult, JobStatus, Progress
from core.outgoing import FetchPolicy
from core.outgoing.addresses import Neighbour
from core.preflight import thumbnail_key
from core.queue import MemoryJobQueue
from service.jobs.schemas import METADATA_MAX_BYTES
from service.services import Services
from tests.core.houses import PREFLIGHT, claim
from tests.servers import wait_until
from tests.service.conftest import with_changes

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
SEGMENT = {"start_s": 0.5, "end_s": 1.5}


def submit(client: TestClient, **fields: Any) -> JobId:
    answer = client.post("/jobs", json=URLS | fields)
    assert answer.status_code == 202, answer.text
    return JobId(answer.json()["id"])


def finish(services: Services, job_id: JobId, folder: Path, name: str = "result.mp4") -> JobResult:
    """Play the worker: store a result and say so."""
    lease = claim(services.store, job_id)
    (folder / name).write_bytes(b"a dubbed video")
    stored = services.storage.put_file(f"jobs/{job_id}/attempt-{lease.token}/{name}", folder / name, "video/mp4")
    result = JobResult(
        key=stored.key,
        sha256=stored.sha256 or "",
        bytes=stored.bytes,
        width=1280,
        height=720,
        fps=25.0,
        frames=100,
        duration_s=4.0,
        weights="tiny",
    )
    services.store.succeed(lease, result, {"denoise": 3.5})
    return result


class TestSubmitting:
    def test_a_job_is_kept_announced_and_located(self, client: TestClient, services: Services) -> None:
        answer = client.post("/jobs", json=URLS | {"options": {"seed": 7}, "metadata": {"scene": 12}})

        body = answer.json()
        assert answer.status_code == 202
        assert body["status"] == "queued"
        assert answer.headers["Location"] == body["links"]["self"] == f"http://testserver/jobs/{body['id']}"
        job = services.store.get(body["id"])
        assert (job.video_url, job.options.seed, job.metadata) == (URLS["video_url"], 7, {"scene": 12})
        assert isinstance(services.queue, MemoryJobQueue)
        assert services.queue.take() == body["id"]

    def test_steps_and_guidance_have_short_names_too_and_are_shown_by_their_long_ones(
        self, client: TestClient, services: Services
    ) -> None:
        job_id = submit(client, options={"steps": 7, "guidance": 1.5})

        options = services.store.get(job_id).options
        assert (options.num_inference_steps, options.guidance_scale) == (7, 1.5)
        shown = client.get(f"/jobs/{job_id}").json()["options"]
        assert (shown["num_inference_steps"], shown["guidance_scale"]) == (7, 1.5)
        assert not {"steps", "guidance"} & set(shown)

    def test_a_lost_message_loses_no_job(self, services: Services) -> None:
        class Broken(MemoryJobQueue):
            def enqueue(self, job_id: JobId) -> None:
                raise QueueUnavailable("Redis: gone between two commands")

        job_id = submit(with_changes(services, queue=Broken()))

        assert services.store.get(job_id).status is JobStatus.QUEUED

    @pytest.mark.parametrize(
        ("change", "code", "field"),
        [
            ({"video_url": "ftp://media.example.com/a"}, "unsupported_url", "video_url"),
            ({"audio_url": "/etc/passwd"}, "unsupported_url", "audio_url"),
            ({"video_url": "http://user:pw@media.example.com/"}, "unsupported_url", "video_url"),
            ({"video_url": "http://127.0.0.1:8000/jobs"}, "address_blocked", "video_url"),
            ({"audio_url": "http://169.254.169.254/latest"}, "address_blocked", "audio_url"),
            ({"video_url": "http://redis:6379/"}, "address_blocked", "video_url"),
            ({"webhook_url": "http://localhost/hook"}, "address_blocked", "webhook_url"),
            ({"webhook_url": "upload://" + "0" * 32}, "unsupported_url", "webhook_url"),
            ({"video_url": "upload://" + "0" * 32}, "upload_not_found", "video_url"),
            ({"video_url": "upload://../../etc/passwd"}, "unsupported_url", "video_url"),
            ({"options": {"sead": 1}}, "unknown_option", "options.sead"),
            ({"status": "succeeded"}, "unknown_option", "status"),
            ({"options": {"seed": "7"}}, "invalid_request", "options.seed"),
            ({"options": {"seed": True}}, "invalid_request", "options.seed"),
            ({"options": {"num_inference_steps": 0}}, "invalid_request", "options.num_inference_steps"),
            ({"options": {"steps": 0}}, "invalid_request", "options.steps"),
            ({"options": {"steps": 4, "num_inference_steps": 4}}, "unknown_option", "options.steps"),
            ({"options": {"sync_mode": "stretch"}}, "invalid_request", "options.sync_mode"),
            ({"options": {"face": "somebody"}}, "invalid_request", "options.face"),
            ({"options": {"face": None}}, "invalid_request", "options.face"),
            ({"options": {"face": {"x": -1, "y": 0, "time_s": 0}}}, "invalid_request", "options.face.point.x"),
            ({"options": {"face": {"x": 1, "y": 0, "time_s": "0"}}}, "invalid_request", "options.face.point.time_s"),
            ({"options": {"face": {"x": 1, "y": 0, "time_s": 0, "z": 0}}}, "unknown_option", "options.face.point.z"),
            ({"options": {"output": {"codec": "prores"}}}, "unsupported_output", "options.output.codec"),
            ({"options": {"output": {"audio_codec": "pcm"}}}, "unsupported_output", "options.output.audio_codec"),
            (
                {"options": {"output": {"container": "mov", "codec": "prores", "quality": 9}}},
                "unsupported_output",
                "options.output.quality",
            ),
            ({"options": {"output": {"codec": "prores"}, "seed": -1}}, "invalid_request", "options.seed"),
            ({"options": {"output": {"codec": "av1"}}}, "invalid_request", "options.output.codec"),
            ({"options": {"output": {"quality": 52}}}, "invalid_request", "options.output.quality"),
            ({"options": {"output": {"crf": 9}}}, "unknown_option", "options.output.crf"),
            ({"options": {"segments": [{"start_s": 1, "end_s": 1}]}}, "invalid_segments", "options.segments.0.end_s"),
            (
                {"options": {"segments": [{"start_s": 0, "end_s": 2}, {"start_s": 1, "end_s": 3}]}},
                "invalid_segments",
                "segment 1 starts before segment 0 ends",
            ),
            (
                {"options": {"sync_mode": "hold", "segments": [{"start_s": 0, "end_s": 2}]}},
                "invalid_segments",
                "options.segments",
            ),
            ({"options": {"segments": [{"start_s": 0}]}}, "invalid_request", "options.segments.0.end_s"),
            ({"options": {"segments": [{"start_s": -1, "end_s": 1}]}}, "invalid_request", "options.segments.0.start_s"),
            (
                {"options": {"segments": [{"start_s": n, "end_s": n + 1} for n in range(101)]}},
                "invalid_request",
                "options.segments",
            ),
            ({"options": {"segments": [SEGMENT | {"audio_url": "/etc/passwd"}]}}, "invalid_request", "audio_url"),
            (
                {"audio_url": None, "options": {"segments": [SEGMENT | {"audio_url": "http://10.0.0.1/a"}]}},
                "address_blocked",
                "options.segments.0.audio_url",
            ),
            (
                {"audio_url": None, "options": {"segments": [SEGMENT | {"audio_url": "upload://" + "0" * 32}]}},
                "upload_not_found",
                "options.segments.0.audio_url",
            ),
            (
                {"options": {"segments": [SEGMENT | {"audio_url": URLS["audio_url"]}]}},
                "invalid_request",
                "audio_url: Value error, every segment has a voice of its own",
            ),
            ({"audio_url": None, "options": {"segments": [SEGMENT]}}, "invalid_request", "audio_url"),
            ({"video_url": None}, "invalid_request", "video_url"),
            ({"metadata": {"a": "x" * METADATA_MAX_BYTES}}, "invalid_request", "metadata"),
            ({"metadata": [1]}, "invalid_request", "metadata"),
            ({"deadline_s": 0}, "invalid_request", "deadline_s"),
            ({"deadline_s": "60"}, "invalid_request", "deadline_s"),
            ({"start_deadline_s": 1e9}, "invalid_request", "start_deadline_s"),
        ],
    )
    def test_bad_requests_are_refused_and_keep_nothing(
        self, client: TestClient, services: Services, change: dict[str, Any], code: str, field: str
    ) -> None:
        answer = client.post("/jobs", json=URLS | change)

        assert answer.status_code == 422
        assert answer.json()["code"] == code
        assert field in answer.json()["detail"]
        assert services.store.stats().depth == 0

    def test_secrets_in_addresses_are_not_repeated(self, client: TestClient) -> None:
        answer = client.post("/jobs", json=URLS | {"video_url": "http://u:hunter2@10.0.0.1/?X-Signature=hunter2"})

        assert "hunter2" not in answer.text


class TestFollowing:
    def test_a_waiting_job_says_when_to_look_again(self, client: TestClient) -> None:
        answer = client.get(f"/jobs/{submit(client, metadata={'scene': 1})}")

        body = answer.json()
        assert answer.status_code == 200
        assert int(answer.headers["Retry-After"]) > 0
        assert (body["status"], body["metadata"], body["attempts"]) == ("queued", {"scene": 1}, [])
        assert body["progress"] is body["result"] is body["error"] is None

    def test_a_running_job_shows_its_progress(self, client: TestClient, services: Services) -> None:
        job_id = submit(client)
        lease = claim(services.store, job_id)
        services.store.report_progress(
            lease, Progress(stage="denoise", fraction=0.5, frames_done=50, frames_total=100, eta_s=12.5)
        )

        body = client.get(f"/jobs/{job_id}").json()

        assert body["status"] == "running"
        assert body["progress"] == {
            "stage": "denoise",
            "fraction": 0.5,
            "frames_done": 50,
            "frames_total": 100,
            "eta_s": 12.5,
        }

    def test_a_finished_job_gives_its_result(self, client: TestClient, services: Services, tmp_path: Path) -> None:
        job_id = submit(client)
        result = finish(services, job_id, tmp_path)

        answer = client.get(f"/jobs/{job_id}")

        shown = answer.json()["result"]
        assert "Retry-After" not in answer.headers
        assert {**shown, "key": result.key} == {**result.model_dump(), "url": shown["url"]}
        assert client.get(shown["url"]).content == b"a dubbed video"

    @pytest.mark.parametrize(("name", "media_type"), [("result.mp4", "video/mp4"), ("result.mov", "video/quicktime")])
    def test_a_result_is_downloaded_as_the_kind_of_file_it_is(
        self, client: TestClient, services: Services, tmp_path: Path, name: str, media_type: str
    ) -> None:
        job_id = submit(client)
        finish(services, job_id, tmp_path, name)

        answer = client.get(client.get(f"/jobs/{job_id}").json()["result"]["url"])

        assert answer.headers["Content-Type"] == media_type
        assert f"highsync-{job_id}{Path(name).suffix}" in answer.headers["Content-Disposition"]

    def test_a_failed_job_says_why_and_what_to_do(self, client: TestClient, services: Services) -> None:
        job_id = submit(client)
        services.store.fail(
            claim(services.store, job_id), JobFailure.of(ErrorCode.NO_FACE_FOUND, "No frame shows a face.")
        )

        body = client.get(f"/jobs/{job_id}").json()

        assert body["status"] == "failed"
        assert body["error"]["code"] == "no_face_found"
        assert body["error"]["hint"]
        assert body["error"]["retryable"] is False

    def test_signatures_in_input_addresses_are_not_shown(self, client: TestClient) -> None:
        job_id = submit(client, video_url="https://media.example.com/a.mp4?X-Signature=hunter2#hunter2")

        assert "hunter2" not in client.get(f"/jobs/{job_id}").text
        assert client.get(f"/jobs/{job_id}").json()["video_url"] == "https://media.example.com/a.mp4"

    def test_voices_of_segments_are_sealed_in_the_record_and_shown_without_their_query(
        self, client: TestClient, services: Services
    ) -> None:
        segment = SEGMENT | {"audio_url": "https://media.example.com/b.wav?X-Signature=hunter2", "face": "s0f1"}
        job_id = submit(client, audio_url=None, options={"segments": [segment]})

        assert "hunter2" not in services.store.get(job_id).model_dump_json()
        answer = client.get(f"/jobs/{job_id}")
        assert "sealed" not in answer.text
        assert answer.json()["options"]["segments"] == [segment | {"audio_url": "https://media.example.com/b.wav"}]

    @pytest.mark.parametrize("job_id", ["0" * 36, "nonsense", "%2e%2e%2f", "a b", "x" * 5000])
    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_an_unknown_job_is_not_found_however_it_is_spelled(
        self, client: TestClient, method: str, job_id: str
    ) -> None:
        answer = client.request(method, f"/jobs/{job_id}")

        assert answer.status_code == 404
        assert answer.json()["code"] in ("job_not_found", "not_found")

    def test_attempts_and_timings_are_shown(self, client: TestClient, services: Services, tmp_path: Path) -> None:
        job_id = submit(client)
        services.store.release(claim(services.store, job_id))
        finish(services, job_id, tmp_path)

        body = client.get(f"/jobs/{job_id}").json()

        assert [(a["number"], a["worker"], a["outcome"]) for a in body["attempts"]] == [
            (1, "worker-1", "released"),
            (2, "worker-1", "succeeded"),
        ]
        assert body["timings"] == {"denoise": 3.5}

    def test_a_job_tells_its_place_and_when_it_will_be_done(
        self, client: TestClient, services: Services, tmp_path: Path
    ) -> None:
        first, second = submit(client), submit(client)
        before = client.get(f"/jobs/{second}").json()
        assert (before["queue_position"], before["eta_s"], before["eta_basis"]) == (2, None, None)
        finish(services, first, tmp_path)
        services.workers.announce("worker-1")

        waiting = client.get(f"/jobs/{second}").json()
        lease = claim(services.store, second)
        services.store.report_progress(lease, Progress(stage="denoise", fraction=0.5, eta_s=12.5))
        running = client.get(f"/jobs/{second}").json()

        assert waiting["queue_position"] == 1
        assert 0 <= waiting["eta_s"] < 60
        assert "last 1 renders" in waiting["eta_basis"]
        assert (running["queue_position"], running["eta_s"]) == (None, 12.5)
        assert client.get(f"/jobs/{first}").json()["eta_s"] is None
        assert client.get("/jobs").json()["jobs"][0]["eta_s"] is None

    @pytest.mark.parametrize("hours", [1, -1])
    def test_deadlines_count_by_the_clock_that_ends_them(self, services: Services, hours: int) -> None:
        """The clock of the API's machine may be wrong, and replicas need not agree."""
        store = MemoryJobStore(clock=lambda: time.time() + hours * 3600)
        client = with_changes(services, store=store)

        job = store.get(JobId(submit(client, deadline_s=1800)))

        assert job.deadline_at is not None
        assert timedelta(minutes=29) < job.deadline_at - store.now() <= timedelta(minutes=30)
        assert store.expire_overdue() == ()

    def test_deadlines_count_from_the_acceptance(self, client: TestClient, services: Services) -> None:
        job_id = submit(client, deadline_s=3600, start_deadline_s=0.5)

        job, body = services.store.get(job_id), client.get(f"/jobs/{job_id}").json()
        assert job.deadline_at == job.created_at + timedelta(hours=1)
        assert job.start_deadline_at == job.created_at + timedelta(seconds=0.5)
        assert datetime.fromisoformat(body["deadline_at"]) == job.deadline_at
        assert datetime.fromisoformat(body["start_deadline_at"]) == job.start_deadline_at

    def test_a_job_nobody_starts_in_time_expires(self, running_client: TestClient) -> None:
        job_id = submit(running_client, start_deadline_s=0.01)

        wait_until(lambda: running_client.get(f"/jobs/{job_id}").json()["status"] == "expired")

        error = running_client.get(f"/jobs/{job_id}").json()["error"]
        assert (error["code"], error["retryable"]) == ("deadline_exceeded", True)


class TestListing:
    def test_pages_cover_every_job_once_newest_first(self, client: TestClient) -> None:
        ids = [submit(client) for _ in range(5)]
        seen: list[str] = []
        cursor = None
        while True:
            page = client.get("/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            seen += [job["id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break

        assert sorted(seen) == sorted(ids)
        assert seen == sorted(seen, reverse=True)

    def test_by_status(self, client: TestClient, services: Services) -> None:
        running, queued = submit(client), submit(client)
        claim(services.store, running)

        assert [job["id"] for job in client.get("/jobs?status=running").json()["jobs"]] == [running]
        assert [job["id"] for job in client.get("/jobs?status=queued").json()["jobs"]] == [queued]

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("limit=0", "invalid_request"),
            ("limit=101", "invalid_request"),
            ("status=lost", "invalid_request"),
            ("cursor=%2B", "invalid_request"),
            ("sort=age", "unknown_option"),
        ],
    )
    def test_a_wrong_query_is_refused(self, client: TestClient, query: str, code: str) -> None:
        answer = client.get(f"/jobs?{query}")

        assert (answer.status_code, answer.json()["code"]) == (422, code)


class TestCanceling:
    def test_a_queued_job_is_canceled_at_once(self, client: TestClient, services: Services) -> None:
        job_id = submit(client)

        answer = client.delete(f"/jobs/{job_id}")

        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
        assert services.store.claim_next("worker-1") is None

    def test_a_running_job_is_asked_to_stop(self, client: TestClient, services: Services) -> None:
        job_id = submit(client)
        lease = claim(services.store, job_id)

        for _ in range(2):
            answer = client.delete(f"/jobs/{job_id}")
            assert (answer.status_code, answer.json()["status"]) == (202, "running")
            assert answer.json()["cancel_requested"] is True

        assert services.store.renew(lease).cancel_requested

    def test_cancel_may_be_repeated_and_never_purges(self, client: TestClient) -> None:
        job_id = submit(client)

        answers = [client.post(f"/jobs/{job_id}/cancel") for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert answers[0].json() == answers[2].json()

    def test_a_job_that_is_over_can_not_be_canceled(
        self, client: TestClient, services: Services, tmp_path: Path
    ) -> None:
        job_id = submit(client)
        finish(services, job_id, tmp_path)

        answer = client.post(f"/jobs/{job_id}/cancel")

        assert (answer.status_code, answer.json()["code"]) == (409, "job_not_cancelable")


END_HOW: dict[str, Callable[[Services, JobId], object]] = {
    "failed": lambda services, job_id: services.store.fail(
        claim(services.store, job_id), JobFailure.of(ErrorCode.GPU_OOM, "Too large.")
    ),
    "canceled": lambda services, job_id: services.store.request_cancel(job_id),
    "expired": lambda services, _: time.sleep(0.02) or services.store.expire_overdue(),
}


class TestRetrying:
    @pytest.mark.parametrize("end", END_HOW)
    def test_what_came_to_nothing_is_tried_again_as_a_new_job(
        self, client: TestClient, services: Services, end: str
    ) -> None:
        start_deadline_s = 0.01 if end == "expired" else 3600.0
        asked = {
            "video_url": "https://media.example.com/a.mp4?X-Signature=hunter2",
            "options": {"seed": 7, "priority": "high"},
            "metadata": {"scene": 12},
            "webhook_url": "https://studio.example.com/hook",
            "webhook_events": ["job.started"],
        }
        old_id = submit(client, **asked, start_deadline_s=start_deadline_s, deadline_s=7200)
        END_HOW[end](services, old_id)
        old = services.store.get(old_id)
        assert old.status == end

        answer = client.post(f"/jobs/{old_id}/retry")

        assert answer.status_code == 202, answer.text
        new = services.store.get(answer.json()["id"])
        assert answer.headers["Location"].endswith(f"/jobs/{new.id}")
        assert new.status is JobStatus.QUEUED
        assert client.get(f"/jobs/{new.id}").json()["retry_of"] == new.retry_of == old_id
        for name in ("tenant", "video_url", "audio_url", "options", "metadata", "webhook_url", "webhook_events"):
            assert getattr(new, name) == getattr(old, name)
        assert new.deadline_at == new.created_at + timedelta(seconds=7200)
        assert new.start_deadline_at == new.created_at + timedelta(seconds=start_deadline_s)
        assert (new.attempts, new.attempt_log, new.error) == (0, (), None)
        assert services.store.get(old_id) == old, "what is over stays as it is"
        assert isinstance(services.queue, MemoryJobQueue)
        assert [services.queue.take(), services.queue.take()] == [old_id, new.id]

    def test_a_retry_may_have_other_deadlines_and_comes_once_under_one_key(
        self, client: TestClient, services: Services
    ) -> None:
        job_id = submit(client, start_deadline_s=60, deadline_s=600)
        client.post(f"/jobs/{job_id}/cancel")

        answers = [
            client.post(f"/jobs/{job_id}/retry", json={"deadline_s": 3600}, headers={"Idempotency-Key": "one"})
            for _ in range(2)
        ]

        assert answers[0].json() == answers[1].json()
        new = services.store.get(answers[0].json()["id"])
        assert new.deadline_at == new.created_at + timedelta(seconds=3600)
        assert new.start_deadline_at == new.created_at + timedelta(seconds=60)
        assert client.post(f"/jobs/{job_id}/retry", json={"seed": 1}).json()["code"] == "unknown_option"

    @pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
    def test_nothing_else_can_be_tried_again(
        self, client: TestClient, services: Services, tmp_path: Path, state: str
    ) -> None:
        job_id = submit(client)
        if state == "running":
            claim(services.store, job_id)
        elif state == "succeeded":
            finish(services, job_id, tmp_path)

        answer = client.post(f"/jobs/{job_id}/retry")

        assert (answer.status_code, answer.json()["code"]) == (409, "job_not_retryable")
        assert state in answer.json()["detail"]
        assert len(client.get("/jobs").json()["jobs"]) == 1

    def test_inputs_that_are_gone_are_named(self, client: TestClient, services: Services) -> None:
        ticket = client.post("/uploads", json={}).json()
        client.request(ticket["method"], ticket["url"], content=bytes(range(256)), headers=ticket["headers"])
        job_id = submit(client, video_url=ticket["id"])
        client.post(f"/jobs/{job_id}/cancel")
        services.storage.delete_prefix("uploads")

        answer = client.post(f"/jobs/{job_id}/retry")

        assert (answer.status_code, answer.json()["code"]) == (422, "upload_not_found")
        assert answer.json()["detail"].startswith("video_url: ")

    def test_what_the_operator_has_closed_meanwhile_stays_closed(self, client: TestClient, services: Services) -> None:
        job_id = submit(client)
        client.post(f"/jobs/{job_id}/cancel")
        policy = FetchPolicy(neighbours=(Neighbour.parse("media.example.com"),))

        answer = with_changes(services, policy=policy).post(f"/jobs/{job_id}/retry")

        assert answer.json()["code"] == "address_blocked"

    def test_an_unknown_job_cannot_be_tried_again(self, client: TestClient) -> None:
        assert client.post(f"/jobs/{'0' * 36}/retry").json()["code"] == "job_not_found"


class TestPurging:
    def test_nothing_of_a_finished_job_is_left(self, client: TestClient, services: Services, tmp_path: Path) -> None:
        job_id, other = submit(client), submit(client)
        finish(services, job_id, tmp_path)
        finish(services, other, tmp_path)
        url = client.get(f"/jobs/{job_id}").json()["result"]["url"]

        answer = client.delete(f"/jobs/{job_id}")

        assert (answer.status_code, answer.content) == (204, b"")
        assert client.get(f"/jobs/{job_id}").status_code == 404
        assert client.delete(f"/jobs/{job_id}").status_code == 404
        assert client.get(url).status_code == 404
        assert list(services.storage.list(f"jobs/{job_id}")) == []
        assert client.get(f"/jobs/{other}").json()["result"]

    def test_a_canceled_job_is_purged_by_the_next_delete(self, client: TestClient) -> None:
        job_id = submit(client)

        assert [client.delete(f"/jobs/{job_id}").status_code for _ in range(3)] == [200, 204, 404]


def test_the_view_of_a_job_survives_json(client: TestClient, services: Services) -> None:
    job_id = submit(client, metadata={"deep": {"list": [1, 2.5, None, True, "\u00fc"]}})

    stored: Job = services.store.get(job_id)
    assert json.loads(client.get(f"/jobs/{job_id}").text)["metadata"] == stored.metadata


class TestPreflights:
    def test_a_preflight_is_a_job_that_only_looks_and_needs_no_voice(
        self, client: TestClient, services: Services
    ) -> None:
        answer = client.post("/preflight", json={"video_url": URLS["video_url"], "options": {"face": "s0f1"}})

        assert answer.status_code == 202, answer.text
        assert answer.headers["Location"] == answer.json()["links"]["self"]
        job = services.store.get(answer.json()["id"])
        assert (job.audio_url, job.options.preflight_only, job.options.face) == (None, True, "s0f1")
        assert client.get(f"/jobs/{job.id}").json()["audio_url"] is None

    def test_only_a_preflight_can_do_without_a_voice(self, client: TestClient) -> None:
        video = {"video_url": URLS["video_url"]}
        refused = client.post("/jobs", json=video)
        assert refused.status_code == 422
        assert refused.json()["errors"] == [{"field": "audio_url", "reason": "Field required"}]
        assert client.post("/jobs", json=video | {"options": {"preflight_only": True}}).status_code == 202

    def test_a_preflight_with_wrong_options_is_not_asked_for_a_voice(self, client: TestClient) -> None:
        answer = client.post("/preflight", json={"video_url": URLS["video_url"], "options": {"seed": -1}})

        assert [error["field"] for error in answer.json()["errors"]] == ["options.seed"]

    @pytest.mark.parametrize("change", [{"video_url": "http://127.0.0.1/"}, {"audio_url": "http://10.0.0.1/"}])
    def test_a_preflight_reaches_no_further_than_a_job(self, client: TestClient, change: dict[str, str]) -> None:
        assert client.post("/preflight", json=URLS | change).json()["code"] == "address_blocked"

    def test_the_report_is_shown_with_pictures_that_can_be_fetched_and_go_with_the_job(
        self, client: TestClient, services: Services, tmp_path: Path
    ) -> None:
        job_id = JobId(client.post("/preflight", json=URLS).json()["id"])
        lease = claim(services.store, job_id)
        (tmp_path / "face.jpg").write_bytes(b"a face")
        services.storage.put_file(thumbnail_key(job_id, "s0f0"), tmp_path / "face.jpg", "image/jpeg")
        services.store.report_preflight(lease, PREFLIGHT)

        while_running = client.get(f"/jobs/{job_id}").json()
        services.store.succeed(lease, None)
        done = client.get(f"/jobs/{job_id}").json()

        assert while_running["preflight"]["faces"][0]["id"] == "s0f0"
        assert (done["status"], done["result"]) == ("succeeded", None)
        picture = client.get(done["preflight"]["faces"][0]["thumbnail_url"])
        assert (picture.content, picture.headers["content-type"]) == (b"a face", "image/jpeg")
        assert client.get("/jobs").json()["jobs"][0]["preflight"] is None
        assert client.delete(f"/jobs/{job_id}").status_code == 204
        assert client.get(done["preflight"]["faces"][0]["thumbnail_url"]).status_code == 404

    def test_a_failed_job_keeps_its_report_without_pictures(self, client: TestClient, services: Services) -> None:
        job_id = submit(client)
        lease = claim(services.store, job_id)
        services.store.report_preflight(lease, PREFLIGHT)
        services.store.fail(lease, JobFailure.of(ErrorCode.GPU_OOM, "Too large."))

        (face,) = client.get(f"/jobs/{job_id}").json()["preflight"]["faces"]

        assert face["thumbnail_url"] is None
