"""Who may do what: keys, scopes, limits, and that no tenant learns anything of another. Attack cases 31, 37 and 42."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute
from structlog.typing import EventDict

from core.api_keys import KeyLimits, Keyring, RedisKeyStore, Scope
from core.errors import QueueUnavailable
from core.jobs import JobId, JobStatus
from service.access import Caller, _caller
from service.app import create_app
from service.services import Services
from tests.core.houses import PREFLIGHT, claim
from tests.servers import RedisServer
from tests.service.conftest import make_settings, with_changes

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
OPEN = {"/livez", "/readyz", "/metrics", "/errors", "/files/{key:path}", "/docs", "/docs/oauth2-redirect"}
OPEN |= {"/", "/studio/{name}"}
UNKNOWN_JOB, UNKNOWN_UPLOAD = "0" * 36, "0" * 32
UNKNOWN_BATCH = "b_" + UNKNOWN_JOB
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64)
NORMAL = (Scope.SUBMIT, Scope.READ)
PATH_OF = {"GET": "/jobs", "POST": "/webhooks/secret/rotate"}
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1.evil.example:8000"},
    {"Origin": "null"},
    {"Origin": "file://"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
]


@dataclass(frozen=True)
class Tenant:
    """A tenant with one key: what it sends, and what it gets."""

    name: str
    key: str
    key_id: str
    client: TestClient

    def ask(self, method: str, path: str, headers: Mapping[str, str] = {}, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **headers}
        return self.client.request(method, path, headers=headers, **arguments)

    def upload(self) -> str:
        """A file that could be a video; its upload:// id."""
        ticket = self.ask("POST", "/uploads", json={"bytes": len(WAV)}).json()
        assert self.client.put(ticket["url"], content=WAV).status_code == 204
        return str(ticket["id"])

    def submit_batch(self, size: int) -> httpx.Response:
        body = b"\n".join([json.dumps(URLS).encode()] * size)
        return self.ask("POST", "/batches", headers={"Content-Type": "application/jsonl"}, content=body)

    def submit(self, **fields: Any) -> JobId:
        answer = self.ask("POST", "/jobs", json=URLS | fields)
        assert answer.status_code == 202, answer.text
        return JobId(answer.json()["id"])


def enrol(
    services: Services, client: TestClient, name: str, scopes: tuple[Scope, ...] = NORMAL, **limits: int
) -> Tenant:
    key, text = Keyring(services.keys, services.store).create(name, scopes, KeyLimits(**limits))
    return Tenant(name, text.get_secret_value(), key.id, client)


@pytest.fixture
def ada(services: Services, client: TestClient) -> Tenant:
    return enrol(services, client, "ada")


@pytest.fixture
def ben(services: Services, client: TestClient) -> Tenant:
    return enrol(services, client, "ben", tuple(Scope))


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def operations(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def routed(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, bool]]:
    """Every path that leads to code of ours, documented or not, and whether it asks who comes."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route.path, _asks(route.dependant)
        elif router := getattr(route, "original_router", None):
            yield from routed(router.routes)


def _asks(dependant: Dependant) -> bool:
    return any(part.call is _caller or _asks(part) for part in dependant.dependencies)


class TestTheDoor:
    def test_every_endpoint_asks_who_comes_but_for_those_that_are_open(self, app: FastAPI) -> None:
        assert {path for path, asks in routed(app.routes) if not asks} == OPEN

    def test_where_there_are_keys_nobody_gets_in_without(self, app: FastAPI, ada: Tenant) -> None:
        """Whatever the path, and although the service may be used without keys while there are none."""
        for method, path, operation in operations(app):
            if "security" not in operation:
                continue
            answer = ada.client.request(method, path.replace("{job_id}", UNKNOWN_JOB))
            assert code(answer) == (401, "missing_api_key"), (method, path)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "401" in operation["responses"]

    @pytest.mark.parametrize(
        "header",
        ["Bearer", "Bearer ", "Bearer x", "Bearer hs_000000000000_" + "x" * 43, "Bearer " + "x" * 10_000, "bearer a b"],
    )
    def test_a_wrong_key_is_refused(self, ada: Tenant, header: str) -> None:
        answer = ada.client.get("/jobs", headers={"Authorization": header})
        assert code(answer) in ((401, "invalid_api_key"), (401, "missing_api_key"))

    def test_what_is_wrong_with_a_key_is_said_as_the_standard_has_it(self, ada: Tenant) -> None:
        answer = ada.client.get("/jobs", headers={"Authorization": f"Bearer {ada.key}x"})
        assert code(answer) == (401, "invalid_api_key")
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'

    @pytest.mark.parametrize("scheme", ["Basic", "Token", "ApiKey", "hs"])
    def test_other_schemes_are_no_key(self, ada: Tenant, scheme: str) -> None:
        answer = ada.client.get("/jobs", headers={"Authorization": f"{scheme} {ada.key}"})
        assert code(answer) == (401, "missing_api_key")

    def test_a_key_in_an_address_or_a_cookie_is_none(self, ada: Tenant) -> None:
        for query in ("api_key", "access_token", "key", "token"):
            answer = ada.client.get("/errors", params={query: ada.key}, headers={"Cookie": f"{query}={ada.key}"})
            assert answer.status_code == 200
            answer = ada.client.get("/jobs", params={query: ada.key}, headers={"Cookie": f"{query}={ada.key}"})
            assert code(answer) == (401, "missing_api_key")

    def test_a_revoked_key_is_dead_from_the_next_request_on(self, services: Services, ada: Tenant) -> None:
        assert ada.ask("GET", "/jobs").status_code == 200
        Keyring(services.keys, services.store).revoke(services.keys.list()[0].id)
        assert code(ada.ask("GET", "/jobs")) == (401, "invalid_api_key")
        assert code(ada.client.get("/jobs")) == (401, "missing_api_key")

    def test_a_key_is_logged_by_its_id_alone(self, ada: Tenant, log: list[EventDict]) -> None:
        ada.submit()
        ada.ask("GET", "/jobs")
        secret = ada.key.split("_", 2)[2]
        assert secret not in str(log)
        assert [event["key_id"] for event in log if event["event"] == "request"] == [ada.key_id] * 2

    def test_while_the_keys_cannot_be_looked_at_nobody_gets_in(self, services: Services, ada: Tenant) -> None:
        class Away:
            def __getattr__(self, name: str) -> Any:
                raise QueueUnavailable("Redis: secret-host does not answer")

        client = with_changes(services, keys=Away())
        for headers in ({}, {"Authorization": f"Bearer {ada.key}"}):
            answer = client.get("/jobs", headers=headers)
            assert code(answer) == (503, "queue_unavailable")
            assert "Retry-After" in answer.headers
        assert client.get("/livez").status_code == 200

    def test_what_is_open_says_nothing_of_any_tenant(self, services: Services, ada: Tenant) -> None:
        """Attack case 42."""
        tenant = enrol(services, ada.client, "tenant-zebra")
        job_id = tenant.submit(
            metadata={"project": "project-okapi"},
            video_url="https://host-quokka.example.com/clip-numbat.mp4",
            webhook_url="https://hook-tapir.example.com/",
        )
        names = ("zebra", "okapi", "quokka", "numbat", "tapir", job_id, tenant.key_id, tenant.key)
        shown = tenant.ask("GET", f"/jobs/{job_id}").text
        assert {name for name in names if name in shown} == {"okapi", "quokka", "numbat", job_id}

        for path in ("/livez", "/readyz", "/metrics", "/errors", "/openapi.json", "/docs"):
            answer = ada.client.get(path)
            assert answer.status_code in (200, 503)
            assert [name for name in names if name in answer.text] == [], path


class TestWithoutKeys:
    """A house that has never had a key serves its own machine."""

    @pytest.fixture
    def app(self, services: Services) -> FastAPI:
        careful = services.settings.model_copy(update={"allow_unauthenticated": False})
        return create_app(careful, replace(services, settings=careful))

    @pytest.fixture
    def own(self, app: FastAPI) -> TestClient:
        """A client on this machine."""
        return TestClient(app, base_url="http://127.0.0.1:8000")

    @pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "[::1]"])
    def test_its_own_machine_is_served(self, app: FastAPI, services: Services, address: str) -> None:
        client = TestClient(app, base_url=f"http://{address}:8000")
        answer = client.post("/jobs", json=URLS)
        assert answer.status_code == 202
        assert services.store.get(answer.json()["id"]).tenant == "local"
        assert client.post("/webhooks/secret/rotate").status_code == 201

    @pytest.mark.parametrize("address", ["192.168.1.5", "[fd00::5]", "studio.example.com", "localhost.example.com"])
    def test_no_other_machine_is(self, app: FastAPI, address: str) -> None:
        """The address is that of our end of the connection. What headers say of the other end does not count."""
        client = TestClient(app, base_url=f"http://{address}:8000", client=("127.0.0.1", 50_000))
        lies = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "::1", "Host": "127.0.0.1"}
        assert code(client.get("/jobs", headers=lies)) == (401, "missing_api_key")

    @pytest.fixture
    def insisting(self, services: Services) -> TestClient:
        """A client elsewhere, of an operator who insists on serving others."""
        assert services.settings.allow_unauthenticated
        return TestClient(create_app(services.settings, services), base_url="http://192.168.1.5")

    def test_unless_the_operator_insists(self, insisting: TestClient) -> None:
        assert insisting.get("/jobs").status_code == 200

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1:8000", "127.0.0.1", "127.8.9.10", "[::1]:8000", "localhost:8000", "LocalHost", "testserver:8000"],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_its_own_names_and_pages_are_served(self, own: TestClient, method: str, host: str) -> None:
        for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}):
            assert own.request(method, PATH_OF[method], headers=headers).status_code in (200, 201)

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "", "0.0.0.0"]
    )
    def test_another_name_that_leads_here_is_not(self, own: TestClient, host: str) -> None:
        """DNS rebinding: the page's own name has become the address of this machine."""
        for method, path in PATH_OF.items():
            assert code(own.request(method, path, headers={"Host": host})) == (403, "foreign_page")

    @pytest.mark.parametrize("headers", FOREIGN)
    def test_nor_is_a_page_of_another_site(self, own: TestClient, headers: dict[str, str]) -> None:
        for method, path in PATH_OF.items():
            assert code(own.request(method, path, headers=headers)) == (403, "foreign_page")
        assert 'highsync_requests_refused_total{error_code="foreign_page"}' in own.get("/metrics").text

    @pytest.mark.parametrize("headers", [{"Host": "evil.example"}, *FOREIGN])
    def test_what_is_open_and_signed_links_stay_so(
        self, own: TestClient, services: Services, headers: dict[str, str]
    ) -> None:
        """The page at the public address shows results by their links, under whatever name it reached us."""
        ticket = own.post("/uploads", json={"bytes": len(WAV)}).json()
        assert own.put(ticket["url"], content=WAV, headers=headers).status_code == 204
        upload = "uploads/" + ticket["id"].removeprefix("upload://")
        assert own.get(services.storage.download_url(upload, 60, "a.wav"), headers=headers).content == WAV
        for path in ("/livez", "/metrics", "/errors", "/docs"):
            assert own.get(path, headers=headers).status_code == 200

    @pytest.mark.parametrize("headers", FOREIGN)
    def test_whoever_serves_others_changes_nothing_for_pages_of_other_sites(
        self, insisting: TestClient, headers: dict[str, str]
    ) -> None:
        """Behind a proxy any Host may be right, and reading is for the browser to forbid."""
        assert code(insisting.post("/webhooks/secret/rotate", headers=headers)) == (403, "foreign_page")
        rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
        assert code(insisting.post("/webhooks/secret/rotate", headers=rebound)) == (403, "foreign_page")
        assert insisting.get("/jobs", headers=headers).status_code == 200
        own = {"Host": "proxy.internal", "Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
        assert insisting.post("/webhooks/secret/rotate", headers=own).status_code == 201
        assert insisting.post("/webhooks/secret/rotate", headers={"Host": "proxy.internal"}).status_code == 201

    def test_with_a_key_any_page_may_ask(self, ada: Tenant) -> None:
        """A page of another site has no key, and a browser never adds one."""
        headers = {"Host": "evil.example", "Origin": "https://tools.example.com", "Sec-Fetch-Site": "cross-site"}
        assert ada.ask("GET", "/jobs", headers).status_code == 200

    def test_a_key_is_wrong_where_there_is_none(self, client: TestClient) -> None:
        answer = client.get("/jobs", headers={"Authorization": "Bearer hs_000000000000_" + "x" * 43})
        assert code(answer) == (401, "invalid_api_key")


class TestScopes:
    @pytest.mark.parametrize(
        ("method", "path", "scope"),
        [
            ("POST", "/jobs", "submit"),
            ("POST", "/preflight", "submit"),
            ("POST", "/uploads", "submit"),
            ("POST", f"/uploads/{UNKNOWN_UPLOAD}/complete", "submit"),
            ("DELETE", f"/uploads/{UNKNOWN_UPLOAD}", "submit"),
            ("GET", f"/uploads/{UNKNOWN_UPLOAD}", "read"),
            ("POST", f"/jobs/{UNKNOWN_JOB}/cancel", "submit"),
            ("POST", f"/jobs/{UNKNOWN_JOB}/retry", "submit"),
            ("DELETE", f"/jobs/{UNKNOWN_JOB}", "submit"),
            ("POST", "/batches", "submit"),
            ("POST", f"/batches/{UNKNOWN_BATCH}/cancel", "submit"),
            ("DELETE", f"/batches/{UNKNOWN_BATCH}", "submit"),
            ("GET", f"/batches/{UNKNOWN_BATCH}", "read"),
            ("POST", f"/webhooks/deliveries/{UNKNOWN_JOB}-1/replay", "submit"),
            ("GET", "/jobs", "read"),
            ("GET", f"/jobs/{UNKNOWN_JOB}", "read"),
            ("GET", f"/jobs/{UNKNOWN_JOB}/events", "read"),
            ("GET", f"/webhooks/deliveries?job_id={UNKNOWN_JOB}", "read"),
            ("POST", "/webhooks/secret/rotate", "admin"),
        ],
    )
    def test_each_permits_its_own_and_admin_all(
        self, services: Services, client: TestClient, method: str, path: str, scope: str
    ) -> None:
        for given in Scope:
            answer = enrol(services, client, "ada", (given,)).ask(method, path, json={} if method == "POST" else None)
            if given in (scope, Scope.ADMIN):
                assert answer.status_code not in (401, 403)
            else:
                assert code(answer) == (403, "scope_missing")
                challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
                assert answer.headers["WWW-Authenticate"] == challenge

    def test_a_caller_is_what_the_key_says(self) -> None:
        caller = Caller("ada", None, frozenset({Scope.READ}), KeyLimits())
        assert [caller.permits(scope) for scope in Scope] == [False, True, False]


class TestIsolation:
    """Attack case 31: to one tenant, another's things are as unknown as what there never was."""

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/jobs/{id}"),
            ("GET", "/jobs/{id}?wait=5"),
            ("GET", "/jobs/{id}/events"),
            ("POST", "/jobs/{id}/cancel"),
            ("POST", "/jobs/{id}/retry"),
            ("DELETE", "/jobs/{id}"),
            ("GET", "/webhooks/deliveries?job_id={id}"),
            ("POST", "/webhooks/deliveries/{id}-4f1d2c3b5a69/replay"),
        ],
    )
    def test_the_answer_is_that_of_an_unknown_id(
        self, services: Services, ada: Tenant, ben: Tenant, method: str, path: str
    ) -> None:
        job_id = ada.submit(webhook_url="https://studio.example.com/hook")
        before = services.store.get(job_id)

        theirs, nobodys = (ben.ask(method, path.replace("{id}", each)) for each in (job_id, UNKNOWN_JOB))

        assert theirs.status_code == nobodys.status_code == 404
        assert _without_ids(theirs, job_id) == _without_ids(nobodys, UNKNOWN_JOB)
        assert theirs.headers.keys() == nobodys.headers.keys()
        assert services.store.get(job_id) == before

    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/uploads/{id}"), ("POST", "/uploads/{id}/complete"), ("DELETE", "/uploads/{id}")],
    )
    def test_so_it_is_for_uploads(self, ada: Tenant, ben: Tenant, method: str, path: str) -> None:
        upload_id = ada.upload().removeprefix("upload://")

        theirs, nobodys = (ben.ask(method, path.replace("{id}", each)) for each in (upload_id, UNKNOWN_UPLOAD))

        assert theirs.status_code == nobodys.status_code == 404
        assert _without_ids(theirs, upload_id) == _without_ids(nobodys, UNKNOWN_UPLOAD)
        assert ada.ask("GET", f"/uploads/{upload_id}").json()["state"] == "ready"

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/batches/{id}"),
            ("POST", "/batches/{id}/cancel"),
            ("DELETE", "/batches/{id}"),
            ("GET", "/jobs?batch={id}"),
            ("GET", "/webhooks/deliveries?batch_id={id}"),
            ("POST", "/webhooks/deliveries/{id}-4f1d2c3b5a69/replay"),
        ],
    )
    def test_so_it_is_for_batches(self, ada: Tenant, ben: Tenant, method: str, path: str) -> None:
        batch_id = ada.submit_batch(2).json()["id"]

        theirs, nobodys = (ben.ask(method, path.replace("{id}", each)) for each in (batch_id, UNKNOWN_BATCH))

        assert theirs.status_code == nobodys.status_code == 404
        assert _without_ids(theirs, batch_id) == _without_ids(nobodys, UNKNOWN_BATCH)
        assert ada.ask("GET", f"/batches/{batch_id}").json()["counts"]["queued"] == 2
        assert len(ada.ask("GET", f"/jobs?batch={batch_id}").json()["jobs"]) == 2

    def test_an_upload_is_an_input_for_its_owners_jobs_only(self, ada: Tenant, ben: Tenant) -> None:
        wish = {"video_url": ada.upload(), "audio_url": URLS["audio_url"]}
        theirs = ben.ask("POST", "/jobs", json=wish)
        nobodys = ben.ask("POST", "/jobs", json=wish | {"video_url": f"upload://{UNKNOWN_UPLOAD}"})
        assert code(theirs) == code(nobodys) == (422, "upload_not_found")
        assert theirs.json()["detail"] == nobodys.json()["detail"]
        assert ada.ask("POST", "/jobs", json=wish).status_code == 202

    def test_lists_hold_the_callers_jobs_only(self, ada: Tenant, ben: Tenant) -> None:
        ours, theirs = {ada.submit() for _ in range(3)}, {ben.submit() for _ in range(2)}
        for tenant, own in ((ada, ours), (ben, theirs)):
            for query in ("", "?status=queued", "?limit=100"):
                assert {job["id"] for job in tenant.ask("GET", f"/jobs{query}").json()["jobs"]} == own
            assert tenant.ask("GET", "/jobs?status=running").json()["jobs"] == []

    def test_a_cursor_of_another_tenant_leads_to_the_callers_own_jobs(self, ada: Tenant, ben: Tenant) -> None:
        own = ben.submit()
        ada.submit()
        cursor = ada.submit()
        page = ben.ask("GET", f"/jobs?cursor={cursor}").json()
        assert [job["id"] for job in page["jobs"]] == [own]

    def test_a_tenant_cannot_be_chosen(self, services: Services, ada: Tenant) -> None:
        """Attack case 34."""
        for field in ("tenant", "tenant_id", "key_id"):
            assert code(ada.ask("POST", "/jobs", json=URLS | {field: "ben"})) == (422, "unknown_option")
        assert services.store.get(ada.submit()).tenant == "ada"

    def test_thumbnails_are_behind_links_that_nobody_else_can_make(
        self, services: Services, ada: Tenant, ben: Tenant
    ) -> None:
        job_id = ada.submit(options={"preflight_only": True})
        lease = claim(services.store, job_id)
        services.store.report_preflight(lease, PREFLIGHT)
        link = ada.ask("GET", f"/jobs/{job_id}").json()["preflight"]["faces"][0]["thumbnail_url"]
        path = httpx.URL(link).path

        for client in (ada, ben):
            assert code(client.ask("GET", path)) == (403, "link_invalid")
        assert ben.ask("GET", f"/jobs/{job_id}").status_code == 404

    def test_each_tenant_has_webhook_secrets_of_its_own(self, services: Services, ada: Tenant, ben: Tenant) -> None:
        made = ben.ask("POST", "/webhooks/secret/rotate").json()["secret"]
        of_ben, of_ada = (services.webhook_secrets.valid(tenant) for tenant in ("ben", "ada"))
        assert made in [secret.get_secret_value() for secret in of_ben]
        assert made not in [secret.get_secret_value() for secret in of_ada]

    def test_an_idempotency_key_of_another_tenant_is_a_new_one(self, ada: Tenant, ben: Tenant) -> None:
        """Attack case 36."""
        headers = {"Idempotency-Key": "scene-12"}
        ours, theirs, again = (t.ask("POST", "/jobs", headers, json=URLS) for t in (ada, ben, ada))
        assert ours.json()["id"] == again.json()["id"] != theirs.json()["id"]
        assert "Idempotency-Replayed" not in theirs.headers

    def test_two_keys_of_one_tenant_see_the_same(self, services: Services, client: TestClient, ada: Tenant) -> None:
        job_id = ada.submit()
        assert enrol(services, client, "ada").ask("GET", f"/jobs/{job_id}").status_code == 200


def _without_ids(answer: httpx.Response, job_id: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.text.replace(job_id, "ID"))
    del body["request_id"]
    return body


def refusals(client: TestClient) -> dict[str, float]:
    found = re.findall(
        r'^highsync_requests_refused_total{error_code="(\w+)"} (\S+)$', client.get("/metrics").text, re.M
    )
    return {reason: float(number) for reason, number in found}


class TestLimits:
    def test_requests_beyond_the_rate_are_refused_and_told_when_to_come_back(
        self, services: Services, client: TestClient, ben: Tenant
    ) -> None:
        hasty = enrol(services, client, "ada", requests_per_minute=2)
        assert [hasty.ask("GET", "/jobs").status_code for _ in range(2)] == [200, 200]

        answer = hasty.ask("GET", "/jobs")

        assert code(answer) == (429, "rate_limited")
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert answer.json()["retryable"] is True
        assert ben.ask("GET", "/jobs").status_code == 200
        assert client.get("/livez").status_code == 200

    def test_refusals_are_counted_by_their_reason(self, services: Services, client: TestClient) -> None:
        hasty = enrol(services, client, "ada", (Scope.READ,), requests_per_minute=1)
        before = refusals(client)
        for _ in range(3):
            hasty.ask("POST", "/jobs", json=URLS)
        client.get("/jobs")

        counted = {reason: number - before.get(reason, 0) for reason, number in refusals(client).items()}
        assert {reason: number for reason, number in counted.items() if number} == {
            "scope_missing": 1,
            "rate_limited": 2,
            "missing_api_key": 1,
        }

    def test_more_waiting_jobs_than_may_are_refused_and_leave_nothing(
        self, services: Services, client: TestClient, ben: Tenant
    ) -> None:
        small = enrol(services, client, "ada", max_queued=2)
        first = small.submit()
        small.submit()

        answer = small.ask("POST", "/jobs", json=URLS)

        assert code(answer) == (429, "too_many_queued")
        assert "Retry-After" in answer.headers
        assert code(small.ask("POST", "/preflight", json={"video_url": URLS["video_url"]})) == (429, "too_many_queued")
        assert len(services.store.list(tenant="ada").jobs) == 2
        ben.submit()
        assert small.ask("POST", f"/jobs/{first}/cancel").status_code == 200
        small.submit()

    def test_the_uploads_of_a_refused_job_are_there_for_the_next_try(
        self, services: Services, client: TestClient
    ) -> None:
        small = enrol(services, client, "ada", max_queued=1)
        first, upload = small.submit(), small.upload()
        for _ in range(3):
            assert small.ask("POST", "/jobs", json=URLS | {"video_url": upload}).status_code == 429
        small.ask("POST", f"/jobs/{first}/cancel")

        assert services.uploads.take_doubtful_holds(0.0, 10) == ()
        assert services.uploads.take_unused(10) == ()
        assert small.submit(video_url=upload)

    def test_a_batch_counts_with_all_its_jobs(self, services: Services, client: TestClient) -> None:
        small = enrol(services, client, "ada", max_queued=3)
        small.submit()

        assert code(small.submit_batch(3)) == (429, "too_many_queued")
        assert len(services.store.list(tenant="ada").jobs) == 1
        assert small.submit_batch(2).status_code == 202

    def test_no_more_jobs_run_than_may(self, services: Services, client: TestClient) -> None:
        small = enrol(services, client, "ada", max_running=1)
        first, second = small.submit(), small.submit()
        claim(services.store, first)
        assert services.store.claim_next("worker-2") is None
        assert small.ask("GET", f"/jobs/{second}").json()["status"] == "queued"

    def test_uploads_take_no_more_bytes_than_may(self, services: Services, client: TestClient, ben: Tenant) -> None:
        """What was announced counts, and so does what has come, until it is removed again."""
        small = enrol(services, client, "ada", storage_bytes=2 * len(WAV))
        first = small.upload()
        small.upload()

        assert code(small.ask("POST", "/uploads", json={"bytes": 1}))[1] == "upload_quota_exceeded"
        assert code(small.ask("POST", "/uploads", json={}))[1] == "upload_quota_exceeded"
        ben.upload()
        small.ask("DELETE", f"/uploads/{first.removeprefix('upload://')}")
        small.upload()

    def test_finished_jobs_are_kept_as_long_as_the_key_says(self, services: Services, client: TestClient) -> None:
        keeping = enrol(services, client, "ada", retention_s=3600)
        assert services.store.get(keeping.submit()).retention_s == 3600
        usual = enrol(services, client, "ben")
        assert services.store.get(usual.submit()).retention_s == services.settings.retention_s

    def test_another_key_of_the_tenant_does_not_make_more_room(self, services: Services, client: TestClient) -> None:
        one, other = (enrol(services, client, "ada", max_queued=1) for _ in range(2))
        one.submit()
        assert code(other.ask("POST", "/jobs", json=URLS)) == (429, "too_many_queued")


@pytest.mark.e2e
def test_over_a_real_redis_a_revoked_key_is_dead_for_every_replica(redis_server: RedisServer, tmp_path: Path) -> None:
    """And 20 posts at once do not slip past a limit of 5 waiting jobs."""
    settings = make_settings(tmp_path).model_copy(update={"redis_url": redis_server.url})
    replicas = [TestClient(create_app(settings)) for _ in range(2)]
    services = Services.from_settings(settings)
    services.storage.prepare()
    tenant = enrol(services, replicas[0], "ada", max_queued=5)
    other = Tenant("ada", tenant.key, tenant.key_id, replicas[1])

    for each in (tenant, other):
        assert each.ask("POST", "/jobs", json={}).status_code == 422  # FastAPI makes a route at its first use
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda turn: (tenant, other)[turn % 2].ask("POST", "/jobs", json=URLS), range(20)))
    assert {answer.status_code for answer in answers} <= {202, 429, 503}  # 503: this machine is too busy
    assert services.store.stats().by_status[JobStatus.QUEUED] == 5

    operator = Keyring(RedisKeyStore.connect(settings.redis_url), services.store)
    operator.revoke(operator.list()[0].id)
    assert [code(each.ask("GET", "/jobs")) for each in (tenant, other)] == [(401, "invalid_api_key")] * 2
