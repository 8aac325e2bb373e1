"""Following a job: versions, long polls and server-sent events. Attack case 41."""

import asyncio
import json
import resource
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from structlog.typing import EventDict

from core.api_keys import KeyLimits, Keyring, Scope
from core.errors import QueueUnavailable, TooManyFollowers
from core.job_store import MemoryJobStore
from core.jobs import JobEvent, JobId, Progress
from core.settings import Settings
from service.app import create_app
from service.jobs.changes import Seats, change_watch_of
from service.server import ApiServer, make_server
from service.services import Services
from tests.core.houses import RESULT, claim, make_job
from tests.servers import free_port, wait_until
from tests.service.conftest import make_services, make_settings, with_changes
from tests.service.test_errors import assert_problem
from tests.service.test_jobs import finish, submit

HALFWAY = Progress(stage="denoise", fraction=0.5, frames_done=50, frames_total=100)
SOON_S = 20.0
"""Longer than anything here takes on a busy machine, and shorter than the waits that must not be waited for."""


class TestVersions:
    def test_an_unchanged_job_is_not_sent_again(self, client: TestClient) -> None:
        path = f"/jobs/{submit(client)}"
        tag = client.get(path).headers["ETag"]

        for known in (tag, f'"other", {tag}', tag.removeprefix("W/")):
            answer = client.get(path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
            assert int(answer.headers["Retry-After"]) > 0

    def test_every_change_makes_a_new_version(self, client: TestClient, services: Services, tmp_path: Path) -> None:
        job_id = submit(client)
        steps: list[Callable[[], object]] = [
            lambda: None,
            lambda: services.store.report_progress(claim(services.store, job_id), HALFWAY),
            lambda: services.store.request_cancel(job_id),
        ]
        tags = []
        for step in steps:
            step()
            tags.append(client.get(f"/jobs/{job_id}").headers["ETag"])

        assert len(set(tags)) == len(steps)

    def test_a_fresh_link_alone_is_no_new_version(self, services: Services, tmp_path: Path) -> None:
        job_id = submit(with_changes(services))
        finish(services, job_id, tmp_path)
        one, other = (
            with_changes(services, settings=services.settings.model_copy(update={"link_ttl_s": ttl_s})).get(
                f"/jobs/{job_id}"
            )
            for ttl_s in (60, 600)
        )

        assert one.json()["result"]["url"] != other.json()["result"]["url"]
        assert one.headers["ETag"] == other.headers["ETag"]

    def test_another_estimate_alone_is_no_new_version_but_another_place_is(
        self, client: TestClient, services: Services, tmp_path: Path
    ) -> None:
        finish(services, submit(client), tmp_path)
        first, second = submit(client), submit(client)
        alone = client.get(f"/jobs/{second}")
        services.workers.announce("worker-1")
        manned = client.get(f"/jobs/{second}")
        client.post(f"/jobs/{first}/cancel")
        nearer = client.get(f"/jobs/{second}")

        assert (alone.json()["eta_s"], manned.json()["eta_s"] is None) == (None, False)
        assert alone.headers["ETag"] == manned.headers["ETag"] != nearer.headers["ETag"]


@dataclass(frozen=True)
class Served:
    """An API on a socket, with its insides."""

    url: str
    services: Services
    app: FastAPI
    server: ApiServer

    def submit(self) -> JobId:
        urls = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
        return JobId(httpx.post(f"{self.url}/jobs", json=urls).raise_for_status().json()["id"])

    def get(self, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(self.url + path, headers=named, timeout=2 * SOON_S)

    def wait_for_waiters(self, number: int) -> None:
        watch = change_watch_of(self.app)
        wait_until(lambda: sum(map(len, watch._waiters.values())) == number, SOON_S, what=f"{number} waiters")


@contextmanager
def serving(settings: Settings) -> Iterator[Served]:
    """An API on a socket, with these settings."""
    services = make_services(settings)
    app, port = create_app(services.settings, services), free_port()
    server = make_server(app, "127.0.0.1", port)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, what="uvicorn")
    yield Served(f"http://127.0.0.1:{port}", services, app, server)
    server.should_exit = True
    thread.join(SOON_S)
    assert not thread.is_alive(), "the server does not end"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(make_settings(tmp_path)) as served:
        yield served


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


class TestLongPolls:
    def test_it_is_answered_when_the_job_changes(self, served: Served, pool: ThreadPoolExecutor) -> None:
        job_id = served.submit()
        tag = served.get(f"/jobs/{job_id}").headers["ETag"]
        waiting = [
            pool.submit(served.get, f"/jobs/{job_id}?wait=60"),
            pool.submit(served.get, f"/jobs/{job_id}?wait=60", If_None_Match=tag),
        ]
        served.wait_for_waiters(2)

        claim(served.services.store, job_id)

        assert [answer.result(SOON_S).json()["status"] for answer in waiting] == ["running", "running"]

    def test_it_ends_with_304_or_the_same_view_when_nothing_changes(self, served: Served) -> None:
        path = f"/jobs/{served.submit()}"
        tag = served.get(path).headers["ETag"]
        started = time.monotonic()

        assert served.get(f"{path}?wait=0.3", If_None_Match=tag).status_code == 304
        assert served.get(f"{path}?wait=0.3").headers["ETag"] == tag
        assert time.monotonic() - started >= 0.6

    def test_what_has_changed_already_is_not_waited_for(self, served: Served) -> None:
        job_id = served.submit()
        tag = served.get(f"/jobs/{job_id}").headers["ETag"]
        claim(served.services.store, job_id)
        started = time.monotonic()

        assert served.get(f"/jobs/{job_id}?wait=60", If_None_Match=tag).json()["status"] == "running"
        served.services.store.request_cancel(job_id)
        assert time.monotonic() - started < SOON_S

    def test_a_job_that_is_over_is_not_waited_for(self, served: Served) -> None:
        job_id = served.submit()
        served.services.store.request_cancel(job_id)
        tag = served.get(f"/jobs/{job_id}?wait=60").headers["ETag"]
        started = time.monotonic()

        assert served.get(f"/jobs/{job_id}?wait=60", If_None_Match=tag).status_code == 304
        assert time.monotonic() - started < SOON_S

    def test_a_change_of_another_job_wakes_nobody(self, served: Served, pool: ThreadPoolExecutor) -> None:
        job_id = served.submit()
        waiting = pool.submit(served.get, f"/jobs/{job_id}?wait=1")
        served.wait_for_waiters(1)

        served.services.store.request_cancel(served.submit())

        assert waiting.result(SOON_S).json()["status"] == "queued"

    @pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon"])
    def test_a_senseless_wait_is_refused(self, client: TestClient, wait: str) -> None:
        answer = client.get(f"/jobs/{submit(client)}?wait={wait}")

        assert assert_problem(answer, 422, "invalid_request")["errors"][0]["field"] == "wait"


def events_in(text: str) -> list[dict[str, Any]]:
    """The events of a stream: id, event, and data as an object."""
    blocks = [block for block in text.split("\n\n") if block.startswith("id: ")]
    events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
    return [event | {"data": json.loads(event["data"])} for event in events]


class TestStreams:
    def play(self, services: Services, job_id: JobId) -> None:
        """A worker takes the job, gets halfway and finishes it."""
        lease = claim(services.store, job_id)
        services.store.report_progress(lease, HALFWAY)
        services.store.succeed(lease, RESULT)

    def test_a_job_that_is_over_is_told_from_its_beginning(self, client: TestClient, services: Services) -> None:
        job_id = submit(client)
        self.play(services, job_id)

        answer = client.get(f"/jobs/{job_id}/events")

        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.text.startswith("retry: ")
        events = events_in(answer.text)
        assert [event["event"] for event in events] == ["created", "started", "progress", "succeeded"]
        assert [event["data"]["status"] for event in events] == ["queued", "running", "running", "succeeded"]
        assert events[2]["data"]["progress"]["fraction"] == 0.5
        assert {event["data"]["job_id"] for event in events} == {job_id}

    def test_events_come_as_they_happen_and_the_stream_ends_with_the_job(self, served: Served) -> None:
        job_id = served.submit()
        seen: list[str] = []
        with httpx.stream("GET", f"{served.url}/jobs/{job_id}/events", timeout=SOON_S) as stream:
            for line in stream.iter_lines():
                if not line.startswith("event: "):
                    continue
                seen.append(line.removeprefix("event: "))
                if seen == ["created"]:
                    lease = claim(served.services.store, job_id)
                elif seen[-1] == "started":
                    served.services.store.report_progress(lease, HALFWAY)
                elif seen[-1] == "progress":
                    served.services.store.succeed(lease, RESULT)

        assert seen == ["created", "started", "progress", "succeeded"]

    def test_a_stream_goes_on_behind_the_last_event(self, client: TestClient, services: Services) -> None:
        job_id = submit(client)
        self.play(services, job_id)
        events = events_in(client.get(f"/jobs/{job_id}/events").text)

        for place, event in enumerate(events[:-1]):
            rest = client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": event["id"]})
            assert events_in(rest.text) == events[place + 1 :]

    def test_who_has_heard_all_is_asked_not_to_come_again(self, client: TestClient, services: Services) -> None:
        job_id = submit(client)
        self.play(services, job_id)
        last = events_in(client.get(f"/jobs/{job_id}/events").text)[-1]["id"]

        assert client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": last}).status_code == 204

    @pytest.mark.parametrize("last", ["x", "1", "1-", "-1-1", "9" * 30 + "-0", "1-0; DROP"])
    def test_an_id_that_is_none_is_refused(self, client: TestClient, last: str) -> None:
        answer = client.get(f"/jobs/{submit(client)}/events", headers={"Last-Event-ID": last})

        assert_problem(answer, 422, "invalid_request")

    def test_an_unknown_job_has_no_stream(self, client: TestClient) -> None:
        assert_problem(client.get(f"/jobs/{'0' * 36}/events"), 404, "job_not_found")

    def test_without_redis_there_is_none(self, services: Services) -> None:
        class Away(MemoryJobStore):
            def get(self, job_id: JobId, tenant: str | None = None) -> NoReturn:
                raise QueueUnavailable("Redis: gone")

        assert_problem(with_changes(services, store=Away()).get(f"/jobs/{'0' * 36}/events"), 503, "queue_unavailable")

    def test_a_quiet_stream_says_that_it_lives(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("service.jobs.following.HEARTBEAT_S", 0.05)
        job_id = served.submit()
        with httpx.stream("GET", f"{served.url}/jobs/{job_id}/events", timeout=SOON_S) as stream:
            comments = (line for line in stream.iter_lines() if line.startswith(": "))
            for _ in range(3):
                assert next(comments)


class TestWatching:
    def test_changes_that_were_missed_during_a_fault_are_told_afterwards(
        self, served: Served, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, log: list[EventDict]
    ) -> None:
        monkeypatch.setattr("service.jobs.changes._PAUSE_AFTER_FAULT_S", 0.01)
        feed = Deaf()
        monkeypatch.setattr(served.services.store, "changes", lambda: feed)
        job_id = served.submit()
        waiting: Future[httpx.Response] = pool.submit(served.get, f"/jobs/{job_id}?wait=60")
        wait_until(lambda: feed.asked > 2, SOON_S, what="faults")

        claim(served.services.store, job_id)
        feed.is_deaf = False

        assert waiting.result(SOON_S).json()["status"] == "running"
        assert "changes_not_read" in {event["event"] for event in log}

    def test_nobody_waits_longer_than_the_server_lives(self, served: Served, pool: ThreadPoolExecutor) -> None:
        job_id = served.submit()
        streams = [pool.submit(served.get, f"/jobs/{job_id}/events") for _ in range(3)]
        polls = [pool.submit(served.get, f"/jobs/{job_id}?wait=60") for _ in range(3)]
        served.wait_for_waiters(6)

        served.server.should_exit = True

        assert [poll.result(SOON_S).json()["status"] for poll in polls] == ["queued"] * 3
        assert [events_in(stream.result(SOON_S).text)[-1]["event"] for stream in streams] == ["created"] * 3

    @pytest.mark.parametrize("limit", ["followers_max", "followers_max_per_tenant"])
    def test_no_more_wait_at_once_than_may(self, tmp_path: Path, pool: ThreadPoolExecutor, limit: str) -> None:
        """Long polls and streams together. Whoever goes, makes room."""
        settings = make_settings(tmp_path).model_copy(update={limit: 2})
        with serving(settings) as served:
            job_id = served.submit()
            poll = pool.submit(served.get, f"/jobs/{job_id}?wait=60")
            with httpx.stream("GET", f"{served.url}/jobs/{job_id}/events", timeout=SOON_S):
                served.wait_for_waiters(2)
                for path in (f"/jobs/{job_id}?wait=60", f"/jobs/{job_id}/events"):
                    answer = served.get(path)
                    assert_problem(answer, 429, "too_many_followers")
                    assert int(answer.headers["Retry-After"]) > 0
                assert served.get(f"/jobs/{job_id}").status_code == 200
            served.wait_for_waiters(1)
            wait_until(lambda: served.get(f"/jobs/{job_id}?wait=0.1").status_code == 200, SOON_S, what="a free seat")
            assert not poll.done()

    def test_a_server_opens_as_many_files_as_it_may(self, tmp_path: Path) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
        with serving(make_settings(tmp_path)):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)

    def test_one_tenant_leaves_room_for_another(self) -> None:
        seats = Seats(3, 2)
        with ExitStack() as taken:
            taken.enter_context(seats.taken_by("ada"))
            taken.enter_context(seats.taken_by("ada"))
            with pytest.raises(TooManyFollowers):  # as many as one tenant may have
                taken.enter_context(seats.taken_by("ada"))
            taken.enter_context(seats.taken_by("ben"))
            with pytest.raises(TooManyFollowers):  # as many as there are
                taken.enter_context(seats.taken_by("ben"))
        with seats.taken_by("ada"), seats.taken_by("ada"):  # all were given back
            pass

    def test_nor_longer_than_the_key_is_valid(self, served: Served, pool: ThreadPoolExecutor) -> None:
        """Whichever process has revoked it; of two tenants, only the one's."""
        keyring = Keyring(served.services.keys, served.services.store)
        streams, polls = [], []
        for tenant in ("ada", "ben"):
            _, text = keyring.create(tenant, [Scope.READ], KeyLimits())
            job = make_job(tenant=tenant)
            served.services.store.create(job)
            headers = {"Authorization": f"Bearer {text.get_secret_value()}"}
            streams.append(pool.submit(served.get, f"/jobs/{job.id}/events", **headers))
            polls.append(pool.submit(served.get, f"/jobs/{job.id}?wait=60", **headers))
        served.wait_for_waiters(4)

        keyring.revoke(served.services.keys.list()[0].id)

        assert_problem(polls[0].result(SOON_S), 401, "invalid_api_key")
        assert [event["event"] for event in events_in(streams[0].result(SOON_S).text)] == ["created"]
        served.wait_for_waiters(2)
        assert not polls[1].done()
        served.services.store.request_cancel(job.id)
        assert polls[1].result(SOON_S).json()["status"] == "canceled"

    def test_a_thousand_followers_cost_one_thread_and_no_reads(self, tmp_path: Path) -> None:
        store = Counting()
        client = with_changes(make_services(make_settings(tmp_path)), store=store)
        assert isinstance(client.app, FastAPI)

        reads, told = asyncio.run(follow(client.app, store, submit(client), submit(client)))

        assert reads == 0
        assert told == [["created", "canceled"]] * 1000
        assert {thread.name for thread in threading.enumerate()} >= {"changes"}


class Deaf:
    """A feed that can not be read for a while, and has forgotten what happened meanwhile."""

    is_deaf = True
    asked = 0

    def wait(self, timeout_s: float) -> tuple[JobEvent, ...]:
        self.asked += 1
        if self.is_deaf:
            raise QueueUnavailable("Redis: gone")
        time.sleep(0.01)
        return ()


class Counting(MemoryJobStore):
    """Counts how often a history is read."""

    reads = 0

    def history(self, job_id: JobId, after: str | None = None) -> tuple[JobEvent, ...]:
        self.reads += 1
        return super().history(job_id, after)


async def follow(app: FastAPI, store: Counting, job_id: JobId, other: JobId) -> tuple[int, list[list[str]]]:
    """A thousand listen to `job_id`. How often the store is read while `other` changes, and what each is told."""
    texts = [bytearray() for _ in range(1000)]

    async def listen(text: bytearray) -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(10 * SOON_S)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            text.extend(message.get("body", b""))

        path = f"/jobs/{job_id}/events"
        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
        await app({**scope, "headers": [], "asgi": {"version": "3.0"}, "http_version": "1.1"}, receive, send)

    async def settle() -> int:
        reads = -1
        while reads != store.reads or any(b"created" not in text for text in texts):
            reads = store.reads
            await asyncio.sleep(1.5)
        return reads

    tasks = [asyncio.create_task(listen(text)) for text in texts]
    before = await settle()
    store.request_cancel(other)
    reads = await settle() - before
    store.request_cancel(job_id)
    await asyncio.gather(*tasks)
    return reads, [[event["event"] for event in events_in(text.decode())] for text in texts]
