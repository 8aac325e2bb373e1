"""The files that people deploy with, as data."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def load_yaml(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def promtool(*arguments: str) -> None:
    """Run Prometheus' own checks; what they say when something is wrong."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; Debian and Ubuntu have it in the package prometheus")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def stack() -> dict[str, dict[str, Any]]:
    """The services of docker-compose.yml, by name."""
    return load_yaml("docker-compose.yml")["services"]


@pytest.fixture(scope="session")
def dockerfile() -> list[str]:
    """The instructions of Dockerfile.gpu, one a line."""
    text = (ROOT / "Dockerfile.gpu").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what `make init` and compose need, with an .env of its own."""
    for name in ("docker-compose.yml", "deploy", "scripts"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    subprocess.run([tmp_path / "scripts" / "init.sh"], check=True, capture_output=True)
    return tmp_path
