"""Uploads and downloads: signed links, size caps, checksums, quotas, parts, ranges. Attack cases 32 and 33."""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from core.jobs import JobId
from core.storage import LocalStorage, make_storage
from core.uploads import upload_id_of, upload_key
from service.services import Services
from tests.core.houses import RESULT
from tests.relay import Relay
from tests.servers import MotoServer
from tests.service.conftest import with_changes

MOVIE = bytes(range(256)) * 100
SHA256 = hashlib.sha256(MOVIE).hexdigest()
WEB = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}


def ask(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/uploads", json=fields)
    assert answer.status_code == 201, answer.text
    ticket: dict[str, Any] = answer.json()
    return ticket


def put(client: TestClient, ticket: dict[str, Any], content: Any) -> int:
    return client.request(ticket["method"], ticket["url"], content=content, headers=ticket["headers"]).status_code


def key_of(ticket: dict[str, Any]) -> str:
    return upload_key(upload_id_of(ticket["id"]))


def stored(storage: LocalStorage, ticket: dict[str, Any]) -> bytes:
    return b"".join(storage.open_stream(key_of(ticket)))


class TestUploading:
    def test_what_was_put_can_be_used_in_a_job(self, client: TestClient, storage: LocalStorage) -> None:
        ticket = ask(client, filename="a.mp4", bytes=len(MOVIE), content_type="video/mp4")

        assert put(client, ticket, MOVIE) == 204

        assert stored(storage, ticket) == MOVIE
        assert ticket["headers"]["Content-Type"] == "video/mp4"
        job = {"video_url": ticket["id"], "audio_url": ticket["id"]}
        assert client.post("/jobs", json=job).status_code == 202

    def test_its_owner_gets_the_file_back(self, client: TestClient) -> None:
        """By a signed link, made at each look; somebody else's look finds no upload: see test_access."""
        ticket = ask(client, bytes=len(MOVIE))
        path = ticket["links"]["self"]
        assert (ticket["file_url"], client.get(path).json()["file_url"]) == (None, None)

        put(client, ticket, MOVIE)

        link = client.get(path).json()["file_url"]
        assert client.get(link).content == MOVIE
        assert client.get(link, headers={"Range": "bytes=2-4"}).content == MOVIE[2:5]
        assert client.put(link, content=b"another").json()["code"] == "link_invalid"
        assert client.get(link.partition("?")[0]).json()["code"] == "link_invalid"

    def test_every_field_is_optional(self, client: TestClient, services: Services) -> None:
        assert ask(client)["max_bytes"] == services.settings.input_max_bytes

    @pytest.mark.parametrize("declared", [True, False])
    def test_more_than_announced_is_refused_and_leaves_nothing(
        self, client: TestClient, storage: LocalStorage, declared: bool
    ) -> None:
        ticket = ask(client, bytes=len(MOVIE) - 1)

        def chunks() -> Iterator[bytes]:
            yield MOVIE

        assert put(client, ticket, MOVIE if declared else chunks()) == 413
        assert not storage.exists(key_of(ticket))
        assert client.post("/jobs", json={"video_url": ticket["id"], "audio_url": ticket["id"]}).status_code == 422

    @pytest.mark.parametrize(
        ("fields", "status", "code"),
        [
            ({"bytes": 10**12}, 413, "input_too_large"),
            ({"bytes": 0}, 422, "invalid_request"),
            ({"bytes": -1}, 422, "invalid_request"),
            ({"key": "../x"}, 422, "unknown_option"),
            ({"filename": "x" * 300}, 422, "invalid_request"),
            ({"content_type": "text/html\r\nX: y"}, 422, "invalid_request"),
        ],
    )
    def test_senseless_wishes_are_refused(
        self, client: TestClient, fields: dict[str, Any], status: int, code: str
    ) -> None:
        answer = client.post("/uploads", json=fields)

        assert (answer.status_code, answer.json()["code"]) == (status, code)

    def test_files_may_be_larger_than_json_bodies(self, client: TestClient, services: Services) -> None:
        big = bytes(services.settings.request_max_bytes + 1)

        assert put(client, ask(client), big) == 204


class TestLookingAt:
    def test_an_upload_waits_and_then_is_ready(self, client: TestClient, services: Services) -> None:
        ticket = ask(client, bytes=len(MOVIE), sha256=SHA256)

        waiting = client.get(ticket["links"]["self"]).json()
        put(client, ticket, MOVIE)
        ready = client.get(ticket["links"]["self"]).json()

        assert (waiting["state"], waiting["bytes"]) == ("waiting", None)
        assert (ready["state"], ready["bytes"], ready["sha256"]) == ("ready", len(MOVIE), SHA256)
        assert waiting | {"state": "ready", "bytes": len(MOVIE), "file_url": ready["file_url"]} == ready
        kept_s = datetime.fromisoformat(ready["kept_until"]) - datetime.fromisoformat(ready["created_at"])
        assert kept_s.total_seconds() == services.settings.upload_ttl_s

    @pytest.mark.parametrize("upload_id", ["0" * 32, "nonsense", "..%2f..%2fetc%2fpasswd"])
    @pytest.mark.parametrize(("method", "end"), [("GET", ""), ("DELETE", ""), ("POST", "/complete")])
    def test_what_is_not_there_is_not_found(self, client: TestClient, upload_id: str, method: str, end: str) -> None:
        answer = client.request(method, f"/uploads/{upload_id}{end}")

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    def test_a_file_that_came_past_us_is_noticed(self, client: TestClient, services: Services, tmp_path: Path) -> None:
        """As in a bucket, where clients put files without a word to us."""
        ticket = ask(client)
        (tmp_path / "file").write_bytes(MOVIE)
        services.storage.put_file(key_of(ticket), tmp_path / "file", "video/mp4")

        assert client.get(ticket["links"]["self"]).json()["state"] == "ready"

    @pytest.mark.parametrize("size", [1001, 100_001])
    def test_a_file_larger_than_a_bucket_was_told_is_removed(
        self, client: TestClient, services: Services, tmp_path: Path, size: int
    ) -> None:
        ticket = ask(client, bytes=1000)
        (tmp_path / "file").write_bytes(bytes(size))
        services.storage.put_file(key_of(ticket), tmp_path / "file", "video/mp4")

        answer = client.post("/jobs", json={"video_url": ticket["id"], "audio_url": ticket["id"]})

        assert (answer.status_code, answer.json()["code"]) == (413, "input_too_large")
        assert not services.storage.exists(key_of(ticket))

    def test_completing_says_whether_the_file_is_there(self, client: TestClient) -> None:
        ticket = ask(client, bytes=len(MOVIE), multipart=True)
        assert ticket["parts"] == []  # a folder takes it in one piece
        assert client.post(ticket["links"]["complete"]).json()["code"] == "upload_incomplete"

        put(client, ticket, MOVIE)

        for _ in range(2):
            assert client.post(ticket["links"]["complete"]).json()["state"] == "ready"


class TestChecksums:
    def test_the_announced_file_is_taken_and_named_in_the_job(self, client: TestClient, services: Services) -> None:
        ticket = ask(client, sha256=SHA256)

        assert put(client, ticket, MOVIE) == 204

        job_id = client.post("/jobs", json={"video_url": ticket["id"], "audio_url": ticket["id"]}).json()["id"]
        assert services.store.get(job_id).input_sha256 == {ticket["id"]: SHA256}

    def test_another_file_is_refused_and_leaves_nothing(self, client: TestClient, storage: LocalStorage) -> None:
        ticket = ask(client, sha256=SHA256)

        answer = client.put(ticket["url"], content=MOVIE + b"!")

        assert (answer.status_code, answer.json()["code"]) == (422, "checksum_mismatch")
        assert not storage.exists(key_of(ticket))
        assert put(client, ticket, MOVIE) == 204

    @pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, SHA256.upper()])
    def test_what_is_no_sha256_is_refused(self, client: TestClient, sha256: str) -> None:
        assert client.post("/uploads", json={"sha256": sha256}).json()["code"] == "invalid_request"


class TestContent:
    @pytest.mark.parametrize(
        "content", [b"<!doctype html><title>Log in</title>", b"PK\x03\x04" + bytes(100), b"", b"#EXTM3U\nfile:///etc/x"]
    )
    @pytest.mark.parametrize("field", ["video_url", "audio_url"])
    def test_what_is_no_media_is_refused_with_the_field(
        self, client: TestClient, services: Services, content: bytes, field: str
    ) -> None:
        ticket = ask(client, content_type="video/mp4", filename="scene.mp4")
        put(client, ticket, content)

        answer = client.post("/jobs", json=WEB | {field: ticket["id"]})

        assert (answer.status_code, answer.json()["code"]) == (422, "not_media")
        assert field in answer.json()["detail"]
        assert services.store.stats().depth == 0


class TestQuota:
    @pytest.fixture
    def client(self, services: Services) -> TestClient:
        return with_changes(
            services, settings=services.settings.model_copy(update={"uploads_max_bytes": 2 * len(MOVIE)})
        )

    def test_no_more_is_taken_until_something_goes(self, client: TestClient) -> None:
        first, _ = ask(client, bytes=len(MOVIE)), ask(client, bytes=len(MOVIE))

        for wish in ({"bytes": 1}, {}):
            answer = client.post("/uploads", json=wish)
            assert (answer.status_code, answer.json()["code"]) == (413, "upload_quota_exceeded")
        assert client.delete(first["links"]["self"]).status_code == 204
        ask(client, bytes=len(MOVIE))

    def test_a_file_of_unknown_size_may_have_what_is_left(self, client: TestClient) -> None:
        put(client, ask(client), MOVIE)

        assert ask(client)["max_bytes"] == len(MOVIE)

    def test_two_that_were_promised_the_same_room_do_not_both_get_it(
        self, client: TestClient, storage: LocalStorage
    ) -> None:
        first, second = ask(client), ask(client)
        assert put(client, first, 2 * MOVIE) == 204

        assert put(client, second, MOVIE) == 413
        assert not storage.exists(key_of(second))


class TestRemoving:
    def test_an_upload_of_no_use_goes(self, client: TestClient, storage: LocalStorage) -> None:
        ticket = ask(client)
        put(client, ticket, MOVIE)

        assert client.delete(ticket["links"]["self"]).status_code == 204

        assert not storage.exists(key_of(ticket))
        assert client.get(ticket["links"]["self"]).status_code == 404
        assert put(client, ticket, MOVIE) == 404

    def test_one_that_a_job_uses_stays_until_the_last_job_is_purged(
        self, client: TestClient, storage: LocalStorage
    ) -> None:
        ticket = ask(client)
        put(client, ticket, MOVIE)
        jobs = [client.post("/jobs", json=WEB | {"video_url": ticket["id"]}).json()["links"]["self"] for _ in range(2)]
        assert client.delete(ticket["links"]["self"]).json()["code"] == "upload_in_use"

        for job in jobs:
            assert storage.exists(key_of(ticket))
            client.delete(job)
            assert client.delete(job).status_code == 204

        assert not storage.exists(key_of(ticket))

    def test_the_voice_of_a_segment_stays_with_its_job_and_leaves_with_it(
        self, client: TestClient, services: Services, storage: LocalStorage
    ) -> None:
        ticket = ask(client, sha256=SHA256)
        put(client, ticket, MOVIE)
        segments = [{"start_s": 1, "end_s": 2, "audio_url": ticket["id"]}]
        job = client.post("/jobs", json={"video_url": WEB["video_url"], "options": {"segments": segments}}).json()
        record = services.store.get(JobId(job["id"]))
        assert record.input_sha256 == {ticket["id"]: SHA256}
        assert client.delete(ticket["links"]["self"]).json()["code"] == "upload_in_use"

        client.delete(job["links"]["self"])
        assert client.delete(job["links"]["self"]).status_code == 204

        assert not storage.exists(key_of(ticket))

    def test_another_tenants_upload_is_as_unknown(self, client: TestClient, services: Services) -> None:
        ticket = ask(client)
        put(client, ticket, MOVIE)
        upload = services.uploads.get(upload_id_of(ticket["id"]))
        services.uploads.forget(upload.id)
        services.uploads.create(upload.model_copy(update={"tenant": "another"}), 60, 0)
        unknown = "upload://" + "0" * 32

        theirs, nobodys = (
            client.post("/jobs", json=WEB | {"video_url": url}).json() for url in (ticket["id"], unknown)
        )

        assert theirs | {"request_id": ""} == nobodys | {"request_id": ""}
        for method, end in (("GET", ""), ("DELETE", ""), ("POST", "/complete")):
            ids = [url.removeprefix("upload://") for url in (ticket["id"], unknown)]
            answers = [client.request(method, f"/uploads/{upload_id}{end}") for upload_id in ids]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert answers[0].json() | {"request_id": ""} == answers[1].json() | {"request_id": ""}


def in_a_bucket(services: Services, endpoint: str) -> TestClient:
    """The same API with its files in a bucket of its own."""
    settings = services.settings.model_copy(
        update={
            "storage_url": f"s3://bucket-{uuid.uuid4().hex}",
            "s3_endpoint": endpoint,
            "s3_access_key": "a",
            "s3_secret_key": SecretStr("b"),
            "input_max_bytes": 64 * 1024**2,
        }
    )
    storage = make_storage(settings, hurried=True)
    storage.prepare()
    return with_changes(services, settings=settings, storage=storage)


class TestInABucket:
    """The same over S3, where clients talk to the bucket."""

    @pytest.fixture
    def client(self, services: Services, moto_server: MotoServer) -> TestClient:
        return in_a_bucket(services, moto_server.url)

    def test_a_file_goes_up_in_parts_and_into_a_job(self, client: TestClient) -> None:
        content = MOVIE * 800
        ticket = ask(client, bytes=len(content), multipart=True)
        assert (ticket["url"], len(ticket["parts"])) == (None, 2)
        start = 0
        for part in ticket["parts"]:
            assert httpx.put(part["url"], content=content[start : start + part["bytes"]]).status_code == 200
            start += part["bytes"]
        assert client.get(ticket["links"]["self"]).json()["state"] == "waiting"

        completed = client.post(ticket["links"]["complete"]).json()

        assert (completed["state"], completed["bytes"]) == ("ready", len(content))
        assert client.post("/jobs", json=WEB | {"video_url": ticket["id"]}).status_code == 202

    def test_a_part_that_arrived_as_another_is_found_before_any_job(self, client: TestClient) -> None:
        # Given a file whose second part was damaged on its way, at its right size
        content = MOVIE * 800
        ticket = ask(client, bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), multipart=True)
        whole, last = ticket["parts"]
        httpx.put(whole["url"], content=content[: whole["bytes"]])
        httpx.put(last["url"], content=bytes(last["bytes"]))

        answer = client.post(ticket["links"]["complete"])

        assert (answer.status_code, answer.json()["code"]) == (422, "checksum_mismatch")
        assert client.get(ticket["links"]["self"]).json()["state"] == "waiting"
        assert client.post("/jobs", json=WEB | {"video_url": ticket["id"]}).json()["code"] == "upload_not_found"
        assert client.post(ticket["links"]["complete"]).json()["code"] == "upload_incomplete"

    def test_nothing_joined_counts_before_it_was_read(self, client: TestClient, services: Services) -> None:
        # Given parts that were joined, while the answer, and the reading, fell to a fault
        content = MOVIE * 800
        ticket = ask(client, bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), multipart=True)
        start = 0
        for part in ticket["parts"]:
            httpx.put(part["url"], content=content[start : start + part["bytes"]])
            start += part["bytes"]
        storage = client.app.state.services.storage
        upload = services.uploads.get(upload_id_of(ticket["id"]))
        assert upload.multipart is not None
        assert storage.parts is not None
        storage.parts.finish(upload.key, upload.multipart.token, len(content), upload.multipart.part_bytes)

        assert client.get(ticket["links"]["self"]).json()["state"] == "waiting"
        assert client.post(ticket["links"]["complete"]).json()["state"] == "ready"
        assert client.get(ticket["links"]["self"]).json()["state"] == "ready"

    def test_missing_parts_are_named(self, client: TestClient) -> None:
        ticket = ask(client, bytes=40 * 1024**2, multipart=True)

        answer = client.post(ticket["links"]["complete"])

        assert (answer.status_code, answer.json()["code"]) == (409, "upload_incomplete")
        assert "1, 2, 3" in answer.json()["detail"]

    def test_one_broken_off_leaves_no_parts(self, client: TestClient, services: Services) -> None:
        ticket = ask(client, bytes=20 * 1024**2, multipart=True)
        part = ticket["parts"][0]
        httpx.put(part["url"], content=bytes(part["bytes"]))

        assert client.delete(ticket["links"]["self"]).status_code == 204

        assert httpx.put(part["url"], content=bytes(part["bytes"])).is_error

    def test_a_single_put_with_its_checksum(self, client: TestClient) -> None:
        ticket = ask(client, bytes=len(MOVIE), sha256=SHA256)
        assert ticket["headers"]["x-amz-checksum-sha256"]

        assert httpx.put(ticket["url"], content=MOVIE, headers=ticket["headers"]).status_code == 200

        assert client.get(ticket["links"]["self"]).json()["state"] == "ready"

    def test_a_larger_file_put_in_the_place_of_one_that_was_taken_is_found(
        self, client: TestClient, services: Services
    ) -> None:
        """A link is good for its time, and a bucket knows no limit: so the file is measured again for each job."""
        ticket = ask(client, bytes=len(MOVIE))
        assert httpx.put(ticket["url"], content=MOVIE).status_code == 200
        assert client.get(ticket["links"]["self"]).json()["state"] == "ready"
        assert httpx.put(ticket["url"], content=2 * MOVIE).status_code == 200

        answer = client.post("/jobs", json=WEB | {"video_url": ticket["id"]})

        assert (answer.status_code, answer.json()["code"]) == (413, "input_too_large")
        assert httpx.get(ticket["url"]).is_error

    def test_parts_need_a_size(self, client: TestClient) -> None:
        assert client.post("/uploads", json={"multipart": True}).json()["code"] == "invalid_request"


class TestBucketInTrouble:
    """It is away, or does not answer: the API says so soon, and loses nothing."""

    @pytest.fixture
    def network(self, moto_server: MotoServer) -> Iterator[Relay]:
        with Relay(moto_server.port) as network:
            yield network

    @pytest.fixture
    def client(self, services: Services, network: Relay) -> TestClient:
        return in_a_bucket(services, network.url)

    @pytest.mark.parametrize("trouble", [Relay.cut, Relay.stall], ids=["away", "silent"])
    def test_it_is_told_soon_and_over_when_it_is_over(
        self, client: TestClient, services: Services, network: Relay, trouble: Callable[[Relay], None]
    ) -> None:
        ticket = ask(client, bytes=len(MOVIE))
        assert httpx.put(ticket["url"], content=MOVIE).status_code == 200
        done = client.post("/jobs", json=WEB | {"video_url": ticket["id"]}).json()["links"]["self"]
        client.post(f"{done}/cancel")
        requests: list[tuple[str, str, Any]] = [
            ("POST", "/jobs", WEB | {"video_url": ticket["id"]}),
            ("DELETE", done, None),
        ]

        trouble(network)
        for method, path, body in requests:
            started = time.monotonic()
            answer = client.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
            assert "Retry-After" in answer.headers
            assert time.monotonic() - started < 15
        assert client.get(done).json()["status"] == "canceled"
        network.mend()

        assert [client.request(method, path, json=body).status_code for method, path, body in requests] == [202, 204]
        assert client.get(ticket["links"]["self"]).json()["state"] == "ready"


class TestLinks:
    @pytest.fixture
    def link(self, storage: LocalStorage, tmp_path: Path) -> str:
        (tmp_path / "movie").write_bytes(MOVIE)
        storage.put_file("jobs/one/result.mp4", tmp_path / "movie", "video/mp4")
        storage.put_file("jobs/two/result.mp4", tmp_path / "movie", "video/mp4")
        return storage.download_url("jobs/one/result.mp4", 60, "dubbed.mp4")

    def test_a_file_comes_as_an_attachment_with_its_type(self, client: TestClient, link: str) -> None:
        answer = client.get(link)

        assert answer.content == MOVIE
        assert answer.headers["Content-Type"] == "video/mp4"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["ETag"] == f'"{hashlib.sha256(MOVIE).hexdigest()}"'

    def test_a_part_of_a_file(self, client: TestClient, link: str) -> None:
        answer = client.get(link, headers={"Range": "bytes=100-199"})

        assert (answer.status_code, answer.content) == (206, MOVIE[100:200])

    @pytest.mark.parametrize("wish", ["bytes=25600-", "bytes=9-2", "bytes=x", "bytes="])
    def test_a_range_that_is_not_there_is_a_problem_which_tells_the_size(
        self, client: TestClient, link: str, wish: str
    ) -> None:
        answer = client.get(link, headers={"Range": wish})

        assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
        assert answer.headers["Content-Range"] == f"bytes */{len(MOVIE)}"

    def test_a_job_gives_a_fresh_link_at_each_look(self, link: str, services: Services, storage: LocalStorage) -> None:
        now = [time.time()]
        secret = services.settings.secret_key.get_secret_value()
        client = with_changes(services, storage=LocalStorage(storage.root, "http://testserver", secret, lambda: now[0]))
        job = client.post("/jobs", json=WEB).json()["links"]["self"]
        lease = services.store.claim_next("worker-1")
        assert lease is not None
        services.store.succeed(lease, RESULT.model_copy(update={"key": "jobs/one/result.mp4"}))
        first = client.get(job).json()["result"]["url"]
        assert client.get(first).content == MOVIE

        now[0] += services.settings.link_ttl_s + 1  # or the clock was set: a link is no part of the job

        assert client.get(first).json()["code"] == "link_invalid"
        assert client.get(client.get(job).json()["result"]["url"]).content == MOVIE
        assert "signature" not in services.store.get(lease.job.id).model_dump_json()

    def test_a_range_in_other_units_is_none(self, client: TestClient, link: str) -> None:
        answer = client.get(link, headers={"Range": "frames=1-2"})

        assert (answer.status_code, answer.content) == (200, MOVIE)

    def test_head_tells_the_size(self, client: TestClient, link: str) -> None:
        answer = client.head(link)

        assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(MOVIE)))

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("jobs/one", "jobs/two"),
            ("expires=", "expires=9"),
            ("dubbed.mp4", "dubbed.html"),
            ("signature=", "signature=0"),
            ("?", "?max_bytes=5&"),
            ("jobs/one/result.mp4", "jobs/one/../two/result.mp4"),
            ("jobs/one/result.mp4", "jobs/one/..%2f..%2f..%2fetc/passwd"),
        ],
    )
    def test_a_changed_link_is_worth_nothing(self, client: TestClient, link: str, before: str, after: str) -> None:
        answer = client.get(link.replace(before, after, 1))

        assert (answer.status_code, answer.json()["code"]) == (403, "link_invalid")

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
    def test_a_link_to_read_permits_nothing_else(self, client: TestClient, link: str, method: str) -> None:
        assert client.request(method, link).status_code in (403, 405)

    def test_a_link_to_write_can_not_read(self, client: TestClient, storage: LocalStorage) -> None:
        ticket = ask(client)
        put(client, ticket, MOVIE)

        assert client.get(ticket["url"]).status_code == 403

    def test_an_expired_link_is_refused(self, client: TestClient, storage: LocalStorage, link: str) -> None:
        expired = storage.links.download_url("jobs/one/result.mp4", -1, "dubbed.mp4")

        assert client.get(expired).status_code == 403

    def test_a_link_to_a_deleted_file_is_not_found(self, client: TestClient, storage: LocalStorage, link: str) -> None:
        storage.delete_prefix("jobs/one")

        answer = client.get(link)

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    def test_a_bucket_serves_its_own_files(self, services: Services, link: str) -> None:
        class Bucket:
            """Any storage that is not a local folder."""

        answer = with_changes(services, storage=Bucket()).get(link)

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
