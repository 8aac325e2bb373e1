"""`Idempotency-Key` at the API: one job, however often it is posted. Attack case 36."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from core.errors import QueueUnavailable
from core.idempotency import Claim, MemoryIdempotencyKeys, RedisIdempotencyKeys
from core.job_store import MemoryJobStore, RedisJobStore
from core.jobs import Job, JobId
from core.redis_client import connect
from core.settings import Settings
from service.app import create_app
from service.services import Services
from tests.servers import RedisServer
from tests.service.conftest import make_settings, with_changes
from tests.service.test_errors import assert_problem

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}


def post(client: TestClient, key: str = "k-1", path: str = "/jobs", **fields: Any) -> Response:
    answer: Response = client.post(path, json=URLS | fields, headers={"Idempotency-Key": key})
    return answer


def jobs_of(services: Services) -> list[JobId]:
    return [job.id for job in services.store.list().jobs]


class TestRepeating:
    def test_a_repeated_request_gets_the_first_answer_marked(self, client: TestClient, services: Services) -> None:
        first, again = post(client), post(client)

        assert (again.status_code, again.json()) == (202, first.json())
        assert again.headers["Location"] == first.headers["Location"]
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        assert jobs_of(services) == [first.json()["id"]]

    def test_the_first_answer_stays_when_the_job_has_gone_on(self, client: TestClient) -> None:
        first = post(client)
        for _ in range(2):
            client.delete(f"/jobs/{first.json()['id']}")

        assert post(client).json() == first.json()

    def test_order_and_spaces_of_the_json_are_nothing(self, client: TestClient) -> None:
        first = post(client, metadata={"a": 1, "b": 2})
        text = (
            f'{{"metadata":{{"b":2, "a":1}},"audio_url":"{URLS["audio_url"]}", "video_url" :"{URLS["video_url"]}"}}'
        ).encode()

        again = client.post(
            "/jobs", content=text, headers={"Idempotency-Key": "k-1", "Content-Type": "application/json"}
        )

        assert again.json() == first.json()

    @pytest.mark.parametrize(("path", "fields"), [("/jobs", {"options": {"seed": 7}}), ("/preflight", {})])
    def test_another_request_under_the_key_is_refused(
        self, client: TestClient, services: Services, path: str, fields: dict[str, Any]
    ) -> None:
        post(client)

        assert_problem(post(client, path=path, **fields), 422, "idempotency_key_reused")
        assert len(jobs_of(services)) == 1

    def test_a_preflight_has_keys_too(self, client: TestClient) -> None:
        assert post(client, path="/preflight").json() == post(client, path="/preflight").json()

    def test_without_a_key_every_request_makes_a_job(self, client: TestClient, services: Services) -> None:
        for _ in range(2):
            client.post("/jobs", json=URLS)

        assert len(jobs_of(services)) == 2

    def test_a_refused_request_may_be_corrected_under_its_key(self, client: TestClient) -> None:
        assert post(client, video_url="http://127.0.0.1/").status_code == 422

        assert post(client).status_code == 202

    @pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256, "x" * 30_000])
    def test_a_key_is_short_plain_text(self, client: TestClient, services: Services, key: str) -> None:
        answer = client.post("/jobs", json=URLS, headers={"Idempotency-Key": key.encode()})

        assert assert_problem(answer, 422, "invalid_request")["errors"][0]["field"] == "Idempotency-Key"
        assert jobs_of(services) == []


class TestFaults:
    def test_while_the_first_is_not_answered_the_next_is_told_to_wait(self, services: Services) -> None:
        started, go_on = threading.Event(), threading.Event()

        class Slow(MemoryJobStore):
            def create(self, job: Job, max_queued: int | None = None) -> None:
                started.set()
                assert go_on.wait(20)
                super().create(job, max_queued)

        client = with_changes(services, store=Slow())
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(post, client)
            assert started.wait(20)
            refused = post(client)
            go_on.set()

        assert_problem(refused, 409, "idempotency_key_in_use")
        assert int(refused.headers["Retry-After"]) > 0
        assert post(client).json() == first.result().json()

    def test_a_fault_after_the_deed_makes_no_second_job(self, services: Services) -> None:
        class Cut(MemoryJobStore):
            """The connection breaks when the job is kept, the first time."""

            faults = 1

            def create(self, job: Job, max_queued: int | None = None) -> None:
                super().create(job, max_queued)
                self.faults -= 1
                if self.faults >= 0:
                    raise QueueUnavailable("Redis: timeout")

        store = Cut()
        client = with_changes(services, store=store)

        assert post(client).status_code == 503
        kept = [job.id for job in store.list().jobs]

        assert [post(client).json()["id"]] == kept == [job.id for job in store.list().jobs]

    def test_an_answer_that_can_not_be_kept_is_given_all_the_same(self, services: Services) -> None:
        class Away(MemoryIdempotencyKeys):
            def keep(self, claim: Claim, answer: str) -> None:
                raise QueueUnavailable("Redis: gone between two commands")

        keys = Away(claim_s=0.0)
        client = with_changes(services, idempotency_keys=keys)

        first = post(client)

        assert (first.status_code, post(client).json()) == (202, first.json())
        assert jobs_of(services) == [first.json()["id"]]


@pytest.mark.e2e
class TestOverRedis:
    @pytest.fixture
    def settings(self, redis_server: RedisServer, tmp_path: Path) -> Settings:
        return make_settings(tmp_path).model_copy(update={"redis_url": redis_server.url})

    @pytest.fixture
    def replicas(self, settings: Settings) -> Iterator[list[TestClient]]:
        with TestClient(create_app(settings)) as one, TestClient(create_app(settings)) as other:
            yield [one, other]

    def test_a_hundred_equal_requests_at_once_make_one_job(
        self, settings: Settings, replicas: list[TestClient]
    ) -> None:
        def insist(client: TestClient) -> str:
            for _ in range(1000):
                answer = post(client)
                if answer.status_code == 202:
                    return str(answer.json()["id"])
                assert answer.json()["code"] == "idempotency_key_in_use"
            raise AssertionError("never answered")

        with ThreadPoolExecutor(16) as pool:
            ids = set(pool.map(insist, itertools.islice(itertools.cycle(replicas), 100)))

        assert [job.id for job in RedisJobStore.connect(settings.redis_url).list().jobs] == list(ids)

    def test_answers_outlive_the_api_and_redis(self, settings: Settings, redis_server: RedisServer) -> None:
        with TestClient(create_app(settings)) as client:
            first = post(client)
        redis_server.kill()
        redis_server.start()

        with TestClient(create_app(settings)) as client:
            again = post(client)

        assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")

    def test_a_death_between_job_and_answer_makes_no_second_job(self, settings: Settings) -> None:
        class Dying(RedisIdempotencyKeys):
            """Its process is killed when the job is kept: neither of these is done."""

            def keep(self, claim: Claim, answer: str) -> None: ...

            def give_up(self, claim: Claim, *, nothing_made: bool) -> None: ...

        dying = Services.from_settings(settings)
        short = Dying(connect(settings.redis_url), 3600, claim_s=0.01)
        first = post(with_changes(dying, idempotency_keys=short))
        with TestClient(create_app(settings)) as client:
            again = post(client)
            assert "Idempotency-Replayed" not in again.headers
            assert len(client.get("/jobs").json()["jobs"]) == 1

        assert again.json() == first.json()
