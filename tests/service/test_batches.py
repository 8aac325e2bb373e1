"""Batches through the API: all lines or none, counted, listed, canceled and purged together, told of once."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from core.batches import MAX_JOBS, Batch, new_batch_id
from core.errors import JobNotFound, QueueUnavailable
from core.job_store import MemoryJobStore
from core.jobs import Job, JobId, JobStatus
from core.outgoing import FetchPolicy
from core.outgoing.addresses import AllowedTarget
from core.queue import MemoryJobQueue
from service.background import make_courier
from service.services import Services
from tests.core.houses import RESULT, claim
from tests.service.conftest import with_changes
from tests.service.test_errors import assert_problem
from tests.sites import Site

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
HOOK = "https://studio.example.com/hook"
NDJSON = {"Content-Type": "application/x-ndjson"}


def lines(*jobs: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(job).encode() + b"\n" for job in jobs)


def post(client: TestClient, body: bytes, key: str | None = None, **query: Any) -> Response:
    headers = NDJSON if key is None else NDJSON | {"Idempotency-Key": key}
    answer: Response = client.post("/batches", content=body, headers=headers, params=query)
    return answer


def submit(client: TestClient, size: int, **query: Any) -> str:
    """A batch of so many jobs, told apart by their scene; its id."""
    answer = post(client, lines(*(URLS | {"metadata": {"scene": n}} for n in range(size))), **query)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def jobs_of(client: TestClient, batch_id: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/jobs", params={"batch": batch_id, **query}).json()["jobs"]
    return found


class TestSubmitting:
    def test_every_line_is_a_job(self, client: TestClient, services: Services) -> None:
        answer = post(client, lines(URLS | {"options": {"seed": 1}}, URLS | {"options": {"seed": 2}}))

        assert answer.status_code == 202
        view = answer.json()
        assert answer.headers["Location"] == view["links"]["self"] == f"http://testserver/batches/{view['id']}"
        assert (view["size"], view["counts"]["queued"], view["finished_at"]) == (2, 2, None)
        jobs = jobs_of(client, view["id"])
        assert {job["options"]["seed"] for job in jobs} == {1, 2}
        assert {job["batch_id"] for job in jobs} == {view["id"]}
        assert services.queue.waiting() == 2
        assert client.get(view["links"]["jobs"]).json()["jobs"] == jobs

    @pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl", "Application/JSONL; charset=utf-8"])
    def test_blank_lines_and_either_type_will_do(self, client: TestClient, kind: str) -> None:
        body = b"\n" + json.dumps(URLS).encode() + b"\r\n  \n" + json.dumps(URLS).encode()
        answer = client.post("/batches", content=body, headers={"Content-Type": kind})
        assert answer.json()["size"] == 2

    def test_a_thousand_are_taken_and_not_one_more(self, client: TestClient, services: Services) -> None:
        assert submit(client, MAX_JOBS)
        before = services.store.stats().depth

        answer = post(client, lines(*[URLS] * (MAX_JOBS + 1)))
        assert "1001 lines" in assert_problem(answer, 422, "invalid_batch")["detail"]
        assert services.store.stats().depth == before == MAX_JOBS

    def test_all_wrong_lines_are_named_and_nothing_is_made(self, client: TestClient, services: Services) -> None:
        body = lines(
            URLS,
            URLS | {"options": {"sead": 1}},
            URLS | {"video_url": "http://10.0.0.1/a", "audio_url": "ftp://media.example.com/a"},
            URLS | {"audio_url": "upload://" + "0" * 32},
        )
        problem = assert_problem(post(client, body + b"{]\n" + lines({}, URLS)), 422, "invalid_batch")

        assert [(wrong["line"], wrong["code"], wrong["field"]) for wrong in problem["errors"]] == [
            (2, "unknown_option", "options.sead"),
            (3, "address_blocked", "video_url"),
            (3, "unsupported_url", "audio_url"),
            (4, "upload_not_found", "audio_url"),
            (5, "malformed_json", "body"),
            (6, "invalid_request", "video_url"),
            (6, "invalid_request", "audio_url"),
        ]
        assert problem["detail"] == "5 lines are wrong, the first is line 2."
        assert services.store.stats().depth == services.queue.waiting() == 0

    def test_one_wrong_address_is_enough(self, client: TestClient, services: Services) -> None:
        answer = post(client, lines(URLS, URLS | {"webhook_url": "http://localhost/hook?token=hunter2"}))

        (wrong,) = assert_problem(answer, 422, "invalid_batch")["errors"]
        assert (wrong["line"], wrong["code"], wrong["field"]) == (2, "address_blocked", "webhook_url")
        assert "hunter2" not in answer.text
        assert services.store.stats().depth == 0

    @pytest.mark.parametrize(
        ("body", "headers", "code"),
        [
            (b"", NDJSON, "invalid_batch"),
            (b" \n\r\n", NDJSON, "invalid_batch"),
            (lines(URLS), {"Content-Type": "application/json"}, "invalid_batch"),
            (lines(URLS), {"Content-Type": "text/plain"}, "invalid_batch"),
            (lines(URLS), {}, "invalid_batch"),
            (b"\xff\n", NDJSON, "invalid_batch"),
            (b'{"video_url": "a", "video_url": "b"}', NDJSON, "invalid_batch"),
            (b"x" * 9_000_000, NDJSON, "request_too_large"),
        ],
    )
    def test_what_is_no_batch_is_refused(
        self, client: TestClient, services: Services, body: bytes, headers: dict[str, str], code: str
    ) -> None:
        answer = client.post("/batches", content=body, headers=headers)
        assert answer.json()["code"] == code
        assert services.store.stats().depth == 0

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ({"webhook_url": "http://10.0.0.1/hook"}, "address_blocked"),
            ({"webhook_url": "upload://" + "0" * 32}, "unsupported_url"),
            ({"dry_run": "maybe"}, "invalid_request"),
            ({"dryrun": "true"}, "unknown_option"),
        ],
    )
    def test_a_wrong_query_is_refused(
        self, client: TestClient, services: Services, query: dict[str, str], code: str
    ) -> None:
        assert_problem(post(client, lines(URLS), **query), 422, code)
        assert services.store.stats().depth == 0

    def test_messages_that_cannot_be_sent_lose_no_job(self, services: Services) -> None:
        class Broken(MemoryJobQueue):
            tried = 0

            def enqueue(self, job_id: JobId) -> None:
                self.tried += 1
                raise QueueUnavailable("Redis: gone between two commands")

        queue = Broken()
        submit(with_changes(services, queue=queue), 3)
        assert services.store.stats().depth == 3
        assert queue.tried == 1  # each one takes its time to fail


class TestDryRun:
    def test_it_says_what_a_real_one_would_and_makes_nothing(self, client: TestClient, services: Services) -> None:
        body = lines(URLS, URLS | {"options": {"seed": -1}}, URLS | {"video_url": "http://10.0.0.1/a"})
        answer = post(client, body, dry_run=True)

        assert answer.status_code == 200
        assert answer.json()["jobs"] == 3
        real = assert_problem(post(client, body), 422, "invalid_batch")["errors"]
        assert real == answer.json()["errors"]
        assert services.store.stats().depth == 0

    def test_of_a_good_batch_it_finds_nothing(self, client: TestClient, services: Services) -> None:
        answer = post(client, lines(URLS, URLS), dry_run=True)
        assert answer.json() == {"jobs": 2, "errors": []}
        assert services.store.stats().depth == 0


class TestRepeating:
    def test_the_same_batch_under_the_same_key_is_made_once(self, client: TestClient, services: Services) -> None:
        first, again = (post(client, lines(URLS, URLS), "k-1") for _ in range(2))

        assert first.status_code == again.status_code == 202
        assert again.json() == first.json()
        assert again.headers["Idempotency-Replayed"] == "true"
        assert services.store.stats().depth == 2

    def test_another_batch_under_the_same_key_is_refused(self, client: TestClient, services: Services) -> None:
        post(client, lines(URLS), "k-1")
        for answer in (post(client, lines(URLS, URLS), "k-1"), post(client, lines(URLS), "k-1", webhook_url=HOOK)):
            assert_problem(answer, 422, "idempotency_key_reused")
        assert services.store.stats().depth == 1

    def test_a_request_that_was_cut_off_after_the_deed_is_not_done_again(self, services: Services) -> None:
        class Cut(MemoryJobStore):
            falls = True

            def create_batch(self, batch: Batch, jobs: Sequence[Job], max_queued: int | None = None) -> None:
                super().create_batch(batch, jobs, max_queued)
                if self.falls:
                    raise ZeroDivisionError

        store = Cut()
        client = with_changes(services, store=store)
        assert post(client, lines(URLS, URLS), "k-1").status_code == 500
        (kept,) = {job.batch_id for job in store.list().jobs}

        store.falls = False
        again = post(client, lines(URLS, URLS), "k-1")
        assert (again.status_code, again.json()["id"]) == (202, kept)
        assert store.stats().depth == 2

    def test_after_a_refusal_the_key_is_free(self, client: TestClient) -> None:
        assert post(client, lines(URLS | {"video_url": "http://10.0.0.1/a"}), "k-1").status_code == 422
        assert post(client, lines(URLS), "k-1").status_code == 202


class TestFollowing:
    def test_its_counts_follow_its_jobs(self, client: TestClient, services: Services) -> None:
        batch_id = submit(client, 3)
        services.store.succeed(claim(services.store), RESULT)
        claim(services.store)

        answer = client.get(f"/batches/{batch_id}")
        counts = {status: count for status, count in answer.json()["counts"].items() if count}
        assert counts == {"queued": 1, "running": 1, "succeeded": 1}
        assert int(answer.headers["Retry-After"]) > 0

    def test_every_state_is_counted(self, client: TestClient) -> None:
        counts = client.get(f"/batches/{submit(client, 1)}").json()["counts"]
        assert set(counts) == {status.value for status in JobStatus}

    def test_its_jobs_are_listed_by_state(self, client: TestClient, services: Services) -> None:
        batch_id = submit(client, 3)
        submit(client, 1)
        running = claim(services.store).job.id
        assert len(jobs_of(client, batch_id)) == 3
        assert [job["id"] for job in jobs_of(client, batch_id, status="running")] == [running]

    @pytest.mark.parametrize("name", ["nothing", "b_", new_batch_id(), "%00", "0" * 36], ids=range(5))
    def test_an_unknown_one_is_not_found_however_it_is_spelled(self, client: TestClient, name: str) -> None:
        for answer in (
            client.get(f"/batches/{name}"),
            client.delete(f"/batches/{name}"),
            client.post(f"/batches/{name}/cancel"),
        ):
            assert_problem(answer, 404, "batch_not_found")

    def test_jobs_of_an_unknown_one_are_not_an_empty_list(self, client: TestClient) -> None:
        assert_problem(client.get("/jobs", params={"batch": new_batch_id()}), 404, "batch_not_found")
        assert_problem(client.get("/jobs", params={"batch": "b_x"}), 422, "invalid_request")


class TestEnding:
    @pytest.mark.parametrize("way", ["cancel", "delete"])
    def test_all_that_waits_is_canceled_and_what_runs_is_asked_to_stop(
        self, client: TestClient, services: Services, way: str
    ) -> None:
        batch_id = submit(client, 4)
        other = submit(client, 1)
        services.store.succeed(claim(services.store), RESULT)
        running = claim(services.store)

        place = f"/batches/{batch_id}"
        answer = client.post(f"{place}/cancel") if way == "cancel" else client.delete(place)

        assert answer.status_code == 202
        counts = {status: count for status, count in answer.json()["counts"].items() if count}
        assert counts == {"succeeded": 1, "running": 1, "canceled": 2}
        assert services.store.renew(running).cancel_requested
        assert client.get(f"/batches/{other}").json()["counts"]["queued"] == 1

        services.store.finish_canceled(running)
        assert client.post(f"{place}/cancel").status_code == 200
        assert client.get(place).json()["counts"]["succeeded"] == 1

    def test_nothing_of_a_finished_batch_is_left_once_it_is_purged(
        self, client: TestClient, services: Services
    ) -> None:
        batch_id = submit(client, 2)
        ids = [JobId(job["id"]) for job in jobs_of(client, batch_id)]
        assert client.delete(f"/batches/{batch_id}").status_code == 200

        assert client.delete(f"/batches/{batch_id}").status_code == 204
        assert_problem(client.get(f"/batches/{batch_id}"), 404, "batch_not_found")
        for job_id in ids:
            with pytest.raises(JobNotFound):
                services.store.get(job_id)


class TestWebhook:
    def test_one_message_tells_that_all_of_it_is_over(self, services: Services) -> None:
        with Site() as site:
            site.pages["/hook"] = lambda visit: visit.reply(204)
            policy = FetchPolicy((AllowedTarget.parse(f"127.0.0.1/32:{site.port}"),))
            client = with_changes(services, policy=policy)
            courier = make_courier(client.app.state.services)  # type: ignore[attr-defined]
            batch_id = submit(client, 2, webhook_url=site.url("/hook?token=hunter2"))
            services.store.succeed(claim(services.store), RESULT)
            assert courier.deliver_due() == 0
            services.store.succeed(claim(services.store), RESULT)
            assert (courier.deliver_due(), courier.deliver_due()) == (1, 0)

        ((_, path, headers, body),) = site.visits
        message = json.loads(body)
        assert (path, message["type"], message["data"]["id"]) == ("/hook?token=hunter2", "batch.completed", batch_id)
        assert message["data"]["counts"]["succeeded"] == 2
        assert headers["webhook-id"] == f"{batch_id}-completed"
        self.told_in_the_log(client, batch_id)

    def told_in_the_log(self, client: TestClient, batch_id: str) -> None:
        (delivery,) = client.get("/webhooks/deliveries", params={"batch_id": batch_id}).json()["deliveries"]
        assert (delivery["batch_id"], delivery["job_id"], delivery["outcome"]) == (batch_id, None, "delivered")
        replay = client.post(f"/webhooks/deliveries/{delivery['id']}/replay").json()
        assert (replay["batch_id"], replay["message_id"]) == (batch_id, f"{batch_id}-completed")
        assert "hunter2" not in str(delivery)

    def test_deliveries_are_of_one_thing(self, client: TestClient) -> None:
        for params in ({}, {"job_id": "0" * 36, "batch_id": new_batch_id()}):
            assert_problem(client.get("/webhooks/deliveries", params=params), 422, "invalid_request")
        assert_problem(client.get("/webhooks/deliveries", params={"batch_id": new_batch_id()}), 404, "batch_not_found")
