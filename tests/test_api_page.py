"""docs/api.md, docs/client.md and the README: their examples run against an API whose jobs a stand-in finishes."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from core.api_keys import KeyLimits, Keyring, Scope
from core.jobs import LOCAL_TENANT
from tests.client.conftest import DUBBED, Service, served
from tests.core.houses import PREFLIGHT
from tests.pages import blocks, need_curl_and_jq, read_page, run_python, run_shell
from tests.service.conftest import make_settings
from tests.service.test_errors import URLS

PAGE = read_page("docs/api.md")


def examples() -> list[tuple[str, str]]:
    """The heading and the lines of every shell example."""
    sections = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)[1:]
    return [
        (heading, lines)
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
        for lines in blocks(text, "bash")
    ]


@contextmanager
def a_worker_for(service: Service) -> Iterator[None]:
    """Jobs are over soon after they were posted."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            while lease := service.services.store.claim_next("worker-1"):
                service.services.store.report_preflight(lease, PREFLIGHT)
                if lease.job.options.preflight_only:
                    service.services.store.succeed(lease, None)
                else:
                    service.finish(lease)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture(autouse=True)
def tools() -> None:
    """What the examples are typed with."""
    need_curl_and_jq()


def put_files(folder: Path) -> None:
    """The scene and the voice that the pages speak of."""
    (folder / "scene.mp4").write_bytes(b"\x00a scene")
    (folder / "voice.wav").write_bytes(b"\x00a voice")


def new_key(service: Service) -> str:
    """A key that may do everything."""
    _, key = Keyring(service.services.keys, service.services.store).create(LOCAL_TENANT, Scope, KeyLimits())
    return key.get_secret_value()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with served(make_settings(tmp_path), tmp_path) as service, a_worker_for(service):
        yield service


def test_its_examples_run(service: Service, tmp_path: Path) -> None:
    # Given the files that the page speaks of
    put_files(tmp_path)
    without_keys = [(heading, lines) for heading, lines in examples() if "API_KEY" not in lines]

    # When all is typed as it stands there
    scripts = [f"printf '\\n## %s\\n' '{heading}'\n{lines}" for heading, lines in without_keys]
    sections = re.split(r"^## (.*)\n", run_shell(tmp_path, service, *scripts), flags=re.MULTILINE)[1:]
    printed = dict(zip(sections[::2], sections[1::2], strict=True))

    # Then it does what the page says
    assert (tmp_path / "dubbed.mp4").read_bytes() == DUBBED
    statuses, stream = printed["Following a job"].split("retry: ")
    assert statuses.split()[-1] in ("running", "succeeded")  # after one look if it was over by then
    assert "event: succeeded" in stream.splitlines()
    first, second = printed["Once, however often it is posted"].split()
    assert first == second
    assert '"s0f0"' in printed["Preflight"]
    assert "no_face_found: Send a clip" in printed["Errors"]


def test_its_examples_with_a_key_run(service: Service, tmp_path: Path) -> None:
    with_keys = [lines for _, lines in examples() if "API_KEY" in lines]

    printed = run_shell(tmp_path, service, *with_keys, HIGHSYNC_API_KEY=new_key(service))

    assert json.loads(printed)["jobs"] == []


def test_its_error_is_a_real_one(service: Service) -> None:
    (shown,) = (json.loads(text) for text in blocks(PAGE, "json") if '"request_id"' in text)

    answer = httpx.post(f"{service.url}/jobs", json=URLS | {"options": {"sead": 1}}, trust_env=False)

    assert answer.json() | {"request_id": shown["request_id"]} == shown


def test_what_is_no_problem_document_is_what_it_names(service: Service) -> None:
    assert "a broken header line, a target longer than 64 KiB" in PAGE
    port = httpx.URL(service.url).port
    for request in (
        b"GET /livez HTTP/1.1\r\nno header\r\n\r\n",
        b"GET /" + 2**16 * b"a" + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port or 0), 10) as connection:
            connection.sendall(request)
            head = connection.recv(4096).lower()
        assert head.startswith(b"http/1.1 400 ")
        assert b"content-type: text/plain" in head

    ready = httpx.get(f"{service.url}/readyz", trust_env=False)
    assert (ready.status_code, ready.headers["content-type"]) == (503, "application/json")
    assert "code" not in ready.json()


def test_the_readmes_five_lines_are_those_of_the_page() -> None:
    (typed,) = (lines for lines in blocks(read_page("README.md"), "sh") if "/uploads" in lines)
    serve, *lines = typed.splitlines()

    assert serve.startswith(".venv/bin/highsync serve &")
    assert lines == blocks(PAGE, "bash")[0].splitlines()


@pytest.mark.parametrize("page", ["README.md", "docs/client.md"])
def test_python_of_the_page_dubs(service: Service, tmp_path: Path, page: str) -> None:
    put_files(tmp_path)
    (program,) = blocks(read_page(page), "python")

    run_python(tmp_path, service, program)

    assert (tmp_path / "dubbed.mp4").read_bytes() == DUBBED


def test_the_commands_of_the_clients_page_run(tmp_path: Path) -> None:
    # Given the files that the page speaks of, and a key in place of its dots
    put_files(tmp_path)
    job = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
    (tmp_path / "season.jsonl").write_text(f"{json.dumps(job)}\n")
    (typed,) = blocks(read_page("docs/client.md"), "sh")
    with served(make_settings(tmp_path), tmp_path) as service:
        lines = typed.replace("HIGHSYNC_API_KEY=…", f"HIGHSYNC_API_KEY={new_key(service)}").splitlines()
        (cancel,) = (line for line in lines if line.startswith("highsync cancel"))

        # When all is typed as it stands there, and what cancels while no worker takes the job
        with a_worker_for(service):
            run_shell(tmp_path, service, *(line for line in lines if line != cancel))
        submit = next(line for line in lines if line.startswith("JOB="))
        printed = run_shell(tmp_path, service, *lines[:2], submit, cancel)

    # Then the results are here, and the last job is canceled
    assert (tmp_path / "dubbed.mp4").read_bytes() == (tmp_path / "dubbed.mov").read_bytes() == DUBBED
    assert "canceled" in printed
