"""docs/api.md: its examples run, in their order, against an API whose jobs a stand-in for the worker finishes."""

import json
import re
import shutil
import subprocess
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
from tests.service.conftest import make_settings
from tests.service.test_errors import URLS

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
SHELL = """
set -euo pipefail
curl() { command curl --fail-with-body --max-time 60 "$@"; }
"""
OLDEST_CURL = (7, 82)  # the first that knows --json


def examples() -> list[tuple[str, str]]:
    """The heading and the lines of every shell example."""
    sections = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)[1:]
    return [
        (heading, lines)
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
        for lines in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    ]


def run(folder: Path, service: Service, *scripts: str, **environment: str) -> str:
    """What the scripts print, one after another in one shell."""
    text = SHELL + "\n".join(scripts)
    text = text.replace("http://127.0.0.1:8000", service.url).replace("/tmp/", f"{folder}/")
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "API": service.url, **environment}
    result = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


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
    found = None
    if shutil.which("curl") and shutil.which("jq"):
        found = re.match(r"curl (\d+)\.(\d+)", subprocess.check_output(["curl", "--version"], text=True))
    if found is None or (int(found[1]), int(found[2])) < OLDEST_CURL:
        pytest.skip("the examples need jq, and curl 7.82 or newer")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with served(make_settings(tmp_path), tmp_path) as service, a_worker_for(service):
        yield service


def test_its_examples_run(service: Service, tmp_path: Path) -> None:
    # Given the files that the page speaks of
    (tmp_path / "scene.mp4").write_bytes(b"\x00a scene")
    (tmp_path / "voice.wav").write_bytes(b"\x00a voice")
    without_keys = [(heading, lines) for heading, lines in examples() if "API_KEY" not in lines]

    # When all is typed as it stands there
    scripts = [f"printf '\\n## %s\\n' '{heading}'\n{lines}" for heading, lines in without_keys]
    sections = re.split(r"^## (.*)\n", run(tmp_path, service, *scripts), flags=re.MULTILINE)[1:]
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
    keyring = Keyring(service.services.keys, service.services.store)
    _, key = keyring.create(LOCAL_TENANT, Scope, KeyLimits())
    with_keys = [lines for _, lines in examples() if "API_KEY" in lines]

    printed = run(tmp_path, service, *with_keys, HIGHSYNC_API_KEY=key.get_secret_value())

    assert json.loads(printed)["jobs"] == []


def test_its_error_is_a_real_one(service: Service) -> None:
    (shown,) = (
        json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if '"request_id"' in text
    )

    answer = httpx.post(f"{service.url}/jobs", json=URLS | {"options": {"sead": 1}}, trust_env=False)

    assert answer.json() | {"request_id": shown["request_id"]} == shown
