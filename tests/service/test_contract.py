"""The OpenAPI document is complete, and the API keeps to it whatever is sent: no 5xx, no answer out of the document."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from core.api_keys import KeyLimits, Keyring, Scope
from core.errors import CATALOGUE, ErrorCode
from core.jobs import LOCAL_TENANT, JobFailure, JobId
from service.app import create_app
from service.batches.endpoints import JSON_LINES
from service.docs import SNAPSHOT
from service.services import Services
from tests.servers import RedisServer
from tests.service.conftest import make_services, make_settings
from tests.service.test_jobs import submit

EXAMPLES, EXAMPLES_OVER_REDIS = 25, 4
DOCUMENT: dict[str, Any] = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
OF_A_JOB = [(method, path) for method, path in OPERATIONS if path.startswith("/jobs/{job_id}")]


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON body that is sent or received: where it stands, and its content."""
    for method, path in OPERATIONS:
        operation = DOCUMENT["paths"][path][method]
        for name, body in {"request": operation.get("requestBody", {}), **operation["responses"]}.items():
            for kind, content in body.get("content", {}).items():
                if kind.endswith("json"):
                    yield f"{method} {path} {name}", content


class TestDocument:
    @pytest.mark.parametrize(("method", "path"), OPERATIONS)
    def test_of_every_operation_is_complete(self, method: str, path: str) -> None:
        operation = DOCUMENT["paths"][path][method]

        assert operation["summary"]
        assert operation["description"]
        assert re.fullmatch("[a-z_]+", operation["operationId"])
        assert operation["tags"]
        assert all(parameter.get("description") for parameter in operation.get("parameters", []))
        assert all(answer["description"] for answer in operation["responses"].values())
        for status, answer in operation["responses"].items():
            if status == "default" or (int(status) >= 400 and path != "/readyz"):
                problem = answer["content"]["application/problem+json"]
                assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
                for code, example in problem.get("examples", {}).items():
                    assert (example["value"]["status"], example["value"]["code"]) == (int(status), code)
                    assert example["value"]["hint"] == CATALOGUE[code].hint
        assert {"default", "500"} <= operation["responses"].keys()

    def test_has_an_example_of_every_body_which_fits_its_schema(self) -> None:
        for place, content in bodies():
            schema = content["schema"] | {"components": DOCUMENT["components"]}
            validator = jsonschema_rs.Draft202012Validator(schema)
            name = content["schema"].get("$ref", "").rpartition("/")[2]
            of_model = DOCUMENT["components"]["schemas"].get(name, {}).get("examples", [])
            examples = [example["value"] for example in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            if not place.endswith("default"):
                assert examples or of_model, place
            for example in (*examples, *of_model):
                assert [error.message for error in validator.iter_errors(example)] == [], place

    def test_has_no_operation_twice(self) -> None:
        names = [DOCUMENT["paths"][path][method]["operationId"] for method, path in OPERATIONS]

        assert len(set(names)) == len(names)


@schemathesis.serializer(*JSON_LINES)
def json_lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Texts as they are; what is none, as one line of JSON."""
    return value.encode(errors="surrogatepass") if isinstance(value, str) else json.dumps(value).encode()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    settings = make_settings(tmp_path_factory.mktemp("contract"))
    return make_services(settings.model_copy(update={"request_max_bytes": 2**20}))


@pytest.fixture(scope="module")
def client(services: Services) -> TestClient:
    return client_of(services)


@pytest.fixture(scope="module")
def description(client: TestClient) -> Any:
    return description_of(client)


def client_of(services: Services) -> TestClient:
    """Of a service with keys, with one that may do everything."""
    _, key = Keyring(services.keys, services.store).create(LOCAL_TENANT, Scope, KeyLimits())
    client = TestClient(create_app(services.settings, services))
    client.headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    return client


def description_of(client: TestClient) -> Any:
    without_keys = {"generation": {"with-security-parameters": False}}  # the key is the client's, and stays the same
    config = schemathesis.Config.from_dict(without_keys)
    return schemathesis.openapi.from_asgi("/openapi.json", client.app, config=config)


def check_answers(
    operation: Any, client: TestClient, job_ids: list[JobId] | None = None, examples: int = EXAMPLES
) -> None:
    """Send many requests that fit the description, or do not, and hold each answer against it."""
    requests = st.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    key = {"Authorization": client.headers["Authorization"]}

    @given(case=requests, job_id=st.sampled_from(job_ids or [None]))
    @settings(max_examples=examples, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case, job_id: JobId | None) -> None:
        if job_id is not None:
            case.path_parameters = {"job_id": job_id}
        # Whether good data is accepted depends on more than its form: is there such a job, such an upload?
        excluded = [positive_data_acceptance]
        if case.path == "/batches":  # its body is any text, and a dry run says with 200 what is wrong with it
            excluded.append(negative_data_rejection)
        case.call_and_validate(headers=key, excluded_checks=excluded)

    check()


class TestAnswers:
    @pytest.mark.parametrize(("method", "path"), OPERATIONS)
    def test_are_as_described(
        self, description: Any, client: TestClient, services: Services, method: str, path: str
    ) -> None:
        services.workers.announce("worker-1")

        check_answers(description[path][method], client)

    @pytest.mark.parametrize(("method", "path"), OF_A_JOB)
    def test_about_jobs_in_every_state_are_as_described(
        self, description: Any, client: TestClient, services: Services, method: str, path: str
    ) -> None:
        canceled, running, also_running, failed = (submit(client, options={"priority": "high"}) for _ in range(4))
        client.delete(f"/jobs/{canceled}")
        while (lease := services.store.claim_next("worker-1")) and lease.job.id != failed:
            pass
        assert lease is not None
        services.store.fail(lease, JobFailure.of(ErrorCode.NO_FACE_FOUND, "No frame shows a face."))

        over, alive = [failed, canceled], [submit(client), running, also_running]
        check_answers(description[path][method], client, over if method == "get" else over + alive)

    @pytest.mark.e2e
    def test_over_a_real_redis_are_as_described(self, redis_server: RedisServer, tmp_path: Path) -> None:
        of_redis = {"redis_url": redis_server.url, "request_max_bytes": 2**20}
        services = Services.from_settings(make_settings(tmp_path).model_copy(update=of_redis))
        services.storage.prepare()
        client = client_of(services)
        description = description_of(client)

        for method, path in OPERATIONS:
            services.workers.announce("worker-1")  # each time: it is forgotten soon
            job_ids = None
            if (method, path) in OF_A_JOB:
                canceled, waiting = submit(client), submit(client)
                client.delete(f"/jobs/{canceled}")
                job_ids = [canceled] if method == "get" else [canceled, waiting]
            check_answers(description[path][method], client, job_ids, EXAMPLES_OVER_REDIS)
