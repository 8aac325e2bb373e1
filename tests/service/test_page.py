"""The studio page as it is served: whole, cached well, open to anybody, and locked up by its headers."""

import re
import tomllib
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from core.api_keys import KeyLimits, Keyring, Scope
from core.jobs import LOCAL_TENANT
from service.services import Services
from service.web.page import STUDIO, content_security_policy
from tests.service.conftest import make_settings

ROOT = Path(__file__).parents[2]
FILES = sorted(path.name for path in STUDIO.iterdir())
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(STUDIO.glob("*.js"))}
MOST_SCRIPT_BYTES = 100_000
MARKUP_SINKS = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc")


def policy_of(text: str) -> dict[str, list[str]]:
    """`default-src 'self'; img-src …` by directive."""
    return {name: values for name, *values in (directive.split() for directive in text.split(";"))}


class TestThePage:
    def test_is_at_the_root(self, client: TestClient) -> None:
        answer = client.get("/")

        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.text == (STUDIO / "index.html").read_text(encoding="utf-8")

    def test_is_open_although_the_service_has_keys(self, client: TestClient, services: Services) -> None:
        """Who has no key yet has to be asked for it. What the page shows comes from the API alone."""
        Keyring(services.keys, services.store).create(LOCAL_TENANT, Scope, KeyLimits())

        assert client.get("/").status_code == 200
        assert client.get("/studio/app.js").status_code == 200
        assert client.get("/jobs").status_code == 401

    @pytest.mark.parametrize("name", FILES)
    def test_has_each_of_its_files(self, client: TestClient, name: str) -> None:
        answer = client.get(f"/studio/{name}")

        assert answer.content == (STUDIO / name).read_bytes()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "charset=utf-8" in answer.headers["Content-Type"] or name.endswith(".svg")

    @pytest.mark.parametrize("path", ["/", "/studio/app.js"])
    def test_answers_head_without_a_body(self, client: TestClient, path: str) -> None:
        got, head = client.get(path), client.head(path)

        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["Content-Length"] == str(len(got.content))
        assert head.headers["ETag"] == got.headers["ETag"]

    @pytest.mark.parametrize("known", ["{etag}", "W/{etag}", '"older", {etag}'])
    def test_comes_once_as_long_as_it_is_the_same(self, client: TestClient, known: str) -> None:
        etag = client.get("/studio/app.js").headers["ETag"]

        again = client.get("/studio/app.js", headers={"If-None-Match": known.format(etag=etag)})

        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["Cache-Control"] == "no-cache"
        assert client.get("/studio/app.js", headers={"If-None-Match": '"older"'}).status_code == 200

    @pytest.mark.parametrize(
        "path",
        ["/studio", "/studio/", "/studio/none.js", "/studio/..%2fpage.py", "/studio/%2e%2e/page.py", "/index.html"],
    )
    def test_swallows_no_path_that_is_not_its_own(self, client: TestClient, path: str) -> None:
        answer = client.get(path)

        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "not_found"

    def test_takes_nothing(self, client: TestClient) -> None:
        answer = client.post("/")

        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, HEAD"

    def test_is_no_part_of_the_api(self, app: FastAPI) -> None:
        assert not {"/", "/studio/{name}"} & app.openapi()["paths"].keys()

    def test_comes_with_an_installed_package(self) -> None:
        """Setuptools takes what is no Python only when it is told to; the image copies the whole of service/."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

        assert project["tool"]["setuptools"]["package-data"]["service.web"] == ["studio/*"]
        assert "COPY service/ service/" in (ROOT / "Dockerfile.gpu").read_text(encoding="utf-8").splitlines()


class TestWhatABrowserLetsItDo:
    @pytest.mark.parametrize("name", ["", *(f"studio/{name}" for name in FILES)])
    def test_is_nothing_but_what_comes_from_here(self, client: TestClient, name: str) -> None:
        policy = policy_of(client.get(f"/{name}").headers["Content-Security-Policy"])

        assert policy["default-src"] == ["'self'"]
        assert policy["media-src"] == policy["img-src"] == ["'self'", "blob:"]
        assert policy["connect-src"] == ["'self'"]
        for nothing in ("base-uri", "form-action", "frame-ancestors", "object-src", "trusted-types"):
            assert policy[nothing] == ["'none'"]
        assert policy["require-trusted-types-for"] == ["'script'"]
        assert not any("unsafe" in value or value == "*" for values in policy.values() for value in values)

    @pytest.mark.parametrize(
        ("endpoints", "origins"),
        [
            (
                {"s3_endpoint": "http://s3:7070", "s3_public_endpoint": "https://files.example.com:8443/s3"},
                ["https://files.example.com:8443"],
            ),
            ({"s3_endpoint": "http://10.0.0.7:7070"}, ["http://10.0.0.7:7070"]),
            ({"s3_region": "eu-central-1"}, ["https://s3.amazonaws.com", "https://s3.eu-central-1.amazonaws.com"]),
        ],
        ids=["public", "the-same", "aws"],
    )
    def test_includes_the_bucket_that_links_lead_to(
        self, tmp_path: Path, endpoints: dict[str, str], origins: list[str]
    ) -> None:
        bucket = make_settings(tmp_path).model_copy(update={"storage_url": "s3://bucket", **endpoints})

        policy = policy_of(content_security_policy(bucket))

        assert policy["connect-src"] == ["'self'", *origins]
        assert policy["media-src"] == policy["img-src"] == ["'self'", "blob:", *origins]
        assert policy["default-src"] == ["'self'"]


class TestItsFiles:
    def test_ask_nobody_else_for_anything(self) -> None:
        for name in FILES:
            addresses = set(re.findall(r"https?://[^\s\"'`)]+", (STUDIO / name).read_text(encoding="utf-8")))
            assert addresses <= {"http://www.w3.org/2000/svg", "https://…"}, name

    def test_run_no_text_as_a_script_and_read_none_as_markup(self) -> None:
        index = (STUDIO / "index.html").read_text(encoding="utf-8")

        assert not re.search(r"<script(?![^>]*src=)", index)
        assert not re.search(r"\son\w+=|\sstyle=|javascript:", index)
        for name, script in SCRIPTS.items():
            assert not [sink for sink in MARKUP_SINKS if sink in script], name

    def test_are_all_asked_for_at_once(self) -> None:
        """Not module by module, as each names the next."""
        index = (STUDIO / "index.html").read_text(encoding="utf-8")

        assert set(re.findall(r'(?:href|src)="studio/([^"]+)"', index)) == set(FILES) - {"index.html"}

    def test_are_small(self) -> None:
        assert sum(len(script.encode()) for script in SCRIPTS.values()) < MOST_SCRIPT_BYTES
