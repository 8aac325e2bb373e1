"""Every error answer has the same shape. Attack cases 35, 39 and 42."""

import json
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CATALOGUE, StorageUnavailable
from core.job_store import MemoryJobStore, RedisJobStore
from core.storage import LocalStorage
from service.app import create_app
from service.services import Services
from service.strict_json import MAX_DEPTH, parse_strictly
from tests.servers import RedisServer, free_port
from tests.service.conftest import make_services, make_settings, with_changes

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
SHAPE = {"type", "title", "status", "detail", "code", "hint", "retryable", "request_id", "errors"}


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) == SHAPE
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["hint"] == CATALOGUE[problem["code"]].hint
    return problem


class Broken(MemoryJobStore):
    """A store with a bug."""

    def get(self, job_id: str) -> NoReturn:
        raise ZeroDivisionError("secret detail")


@pytest.fixture(scope="module")
def api_for_fuzzing(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    services = make_services(make_settings(tmp_path_factory.mktemp("fuzz")))
    return TestClient(create_app(services.settings, services), raise_server_exceptions=False)


class TestShape:
    @pytest.mark.parametrize(
        ("method", "path", "body", "status", "code"),
        [
            ("GET", "/nowhere", None, 404, "not_found"),
            ("GET", "/jobs/", None, 404, "not_found"),
            ("GET", "/docs/static/nothing.js", None, 404, "not_found"),
            ("PATCH", "/jobs", None, 405, "method_not_allowed"),
            ("DELETE", "/metrics", None, 405, "method_not_allowed"),
            ("OPTIONS", "/livez", None, 405, "method_not_allowed"),
            ("GET", "/jobs/nonsense", None, 404, "job_not_found"),
            ("POST", "/jobs", b"{", 400, "malformed_json"),
            ("POST", "/jobs", b"{}", 422, "invalid_request"),
            ("POST", "/jobs", b"[]", 422, "invalid_request"),
            ("POST", "/jobs", b"", 422, "invalid_request"),
            ("POST", "/jobs", b" " * 40_000, 413, "request_too_large"),
            ("GET", "/files/x", None, 403, "link_invalid"),
        ],
    )
    def test_of_every_refusal(
        self, client: TestClient, method: str, path: str, body: bytes | None, status: int, code: str
    ) -> None:
        headers = {"Content-Type": "application/json"}

        assert_problem(client.request(method, path, content=body, headers=headers), status, code)

    def test_of_every_method_that_a_path_does_not_know(self, app: FastAPI, client: TestClient) -> None:
        for path, operations in app.openapi()["paths"].items():
            for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {name.upper() for name in operations}:
                answer = client.request(method, path)
                assert_problem(answer, 405, "method_not_allowed")
                assert {name.upper() for name in operations} <= set(answer.headers["Allow"].split(", "))

    def test_of_a_refused_head_has_no_body(self, client: TestClient) -> None:
        answer = client.head("/nowhere")

        assert (answer.status_code, answer.content) == (404, b"")
        assert answer.headers["Content-Type"] == "application/problem+json"

    def test_of_a_bug_which_stays_secret(self, services: Services) -> None:
        answer = with_changes(services, store=Broken()).get("/jobs/" + "0" * 36)

        assert_problem(answer, 500, "internal_error")
        assert "secret" not in answer.text

    def test_all_wrong_fields_are_named(self, client: TestClient) -> None:
        answer = client.post("/jobs", json={"options": {"seed": -1, "guidance_scale": 99}})

        fields = {error["field"] for error in assert_problem(answer, 422, "invalid_request")["errors"]}
        assert fields == {"video_url", "audio_url", "options.seed", "options.guidance_scale"}

    def test_values_are_not_repeated(self, client: TestClient) -> None:
        answer = client.post("/jobs", json=URLS | {"options": {"seed": "hunter2"}, "webhook_url": ["hunter2"]})

        assert "hunter2" not in answer.text

    def test_a_method_that_is_not_allowed_names_those_that_are(self, client: TestClient) -> None:
        assert "GET" in client.request("PATCH", "/jobs").headers["Allow"]

    def test_a_body_in_chunks_has_a_limit_too(self, client: TestClient) -> None:
        endless = (b" " * 1024 for _ in range(1000))

        answer = client.post("/jobs", content=endless, headers={"Content-Type": "application/json"})

        assert_problem(answer, 413, "request_too_large")

    def test_what_is_wrong_on_our_side_names_no_hosts(self, services: Services) -> None:
        class Gone(LocalStorage):
            def stat(self, key: str) -> NoReturn:
                raise StorageUnavailable("S3: no route to secret-host:9000")

        gone = Gone(Path("/nowhere"), "http://testserver", "x" * 32)
        client = with_changes(services, storage=gone)
        upload_id = client.post("/uploads", json={}).json()["id"]
        answer = client.post("/jobs", json=URLS | {"video_url": upload_id})

        assert_problem(answer, 503, "storage_unavailable")
        assert "secret-host" not in answer.text


class TestRequestId:
    def test_a_plain_one_is_kept(self, client: TestClient) -> None:
        assert client.get("/livez", headers={"X-Request-ID": "abc-123"}).headers["X-Request-ID"] == "abc-123"

    @pytest.mark.parametrize("wish", ["", "a b", "x" * 65, "a\tb", "<script>", 'a"b'])
    def test_any_other_is_replaced(self, client: TestClient, wish: str) -> None:
        given = client.get("/livez", headers={"X-Request-ID": wish}).headers["X-Request-ID"]

        assert given != wish
        assert len(given) == 32


class TestStrictJson:
    @pytest.mark.parametrize(
        "text",
        [
            b'{"a": 1, "a": 2}',
            b'{"a": {"b": 1, "b": 1}}',
            b"NaN",
            b'{"a": Infinity}',
            b"[-Infinity]",
            b"1e309",
            b'"\\ud800"',
            b'{"\\udfff": 1}',
            b"\xff",
            b"\xef\xbb\xbf{}",
            b"{} {}",
            b"",
            b"[" * 100_000,
            b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2),
            b"1" * 5000,
            b"{'a': 1}",
        ],
    )
    def test_doubtful_json_is_refused(self, text: bytes) -> None:
        with pytest.raises(json.JSONDecodeError):
            parse_strictly(text)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        )
    )
    def test_ordinary_json_is_understood(self, value: Any) -> None:
        assert parse_strictly(json.dumps(value, ensure_ascii=False).encode()) == value

    def test_the_api_says_what_is_wrong(self, client: TestClient) -> None:
        answer = client.post(
            "/jobs", content=b'{"video_url": 1, "video_url": 2}', headers={"Content-Type": "application/json"}
        )

        assert "twice" in assert_problem(answer, 400, "malformed_json")["detail"]

    @given(body=st.binary(max_size=200))
    def test_no_body_is_a_bug(self, api_for_fuzzing: TestClient, body: bytes) -> None:
        for path in ("/jobs", "/uploads"):
            answer = api_for_fuzzing.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code < 500


class TestRedisAway:
    """Fast 503s: the API never hangs."""

    def assert_unavailable_fast(self, client: TestClient) -> None:
        for method, path, body in [("POST", "/jobs", URLS), ("GET", "/jobs", None), ("GET", "/jobs/" + "0" * 36, None)]:
            started = time.monotonic()
            answer = client.request(method, path, json=body)
            assert time.monotonic() - started < 4
            assert_problem(answer, 503, "queue_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            assert "127.0.0.1" not in answer.text

    def test_nobody_listens(self, services: Services) -> None:
        store = RedisJobStore.connect(f"redis://127.0.0.1:{free_port()}/0")

        self.assert_unavailable_fast(with_changes(services, store=store))

    @pytest.mark.e2e
    def test_redis_is_frozen(self, services: Services, redis_server: RedisServer) -> None:
        client = with_changes(services, store=RedisJobStore.connect(redis_server.url))
        assert client.post("/jobs", json=URLS).status_code == 202

        redis_server.freeze()
        try:
            self.assert_unavailable_fast(client)
        finally:
            redis_server.thaw()
