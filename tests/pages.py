"""The examples of the pages, and a shell and a Python to run them in against a served API."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.conftest import Service

ROOT = Path(__file__).resolve().parents[1]
OLDEST_CURL = (7, 82)  # the first that knows --json
SHELL = f"""
set -euo pipefail
curl() {{ command curl --fail-with-body --max-time 60 "$@"; }}
highsync() {{ "{sys.executable}" -m cli "$@"; }}
"""


def read_page(name: str) -> str:
    """A page of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The lines of every example in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def need_curl_and_jq() -> None:
    """Skip the test on a machine without them; in CI, fail it."""
    found = None
    if shutil.which("curl") and shutil.which("jq"):
        found = re.match(r"curl (\d+)\.(\d+)", subprocess.check_output(["curl", "--version"], text=True))
    if found is None or (int(found[1]), int(found[2])) < OLDEST_CURL:
        missing = "the examples need jq, and curl 7.82 or newer"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)


def run_shell(folder: Path, service: Service, *scripts: str, **environment: str) -> str:
    """What the scripts print, one after another in one shell."""
    text = (SHELL + "\n".join(scripts)).replace("/tmp/", f"{folder}/")
    return _run(["bash", "-c", text.replace("http://127.0.0.1:8000", service.url)], folder, service, environment)


def run_python(folder: Path, service: Service, program: str) -> str:
    """What the program prints."""
    text = program.replace("http://127.0.0.1:8000", service.url)
    return _run([sys.executable, "-c", text], folder, service, {})


def _run(command: list[str], folder: Path, service: Service, environment: dict[str, str]) -> str:
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "API": service.url, **environment}
    result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
