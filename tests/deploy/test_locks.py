"""requirements/*.lock: in step with pyproject.toml, and each with what it is for."""

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.deploy.conftest import ROOT

DEPLOYED = ("api", "worker", "torch-cpu", "torch-cuda")


def pins_of(lock: str) -> dict[str, set[Version]]:
    """The versions that a lock names of each package: several where they depend on the platform."""
    pins: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.+]+)", read(lock), re.MULTILINE):
        pins.setdefault(name, set()).add(Version(version))
    return pins


def read(lock: str) -> str:
    return (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("api", ["tracing"]), ("worker", ["model", "tracing"]), ("dev", ["model", "tracing", "demo", "dev"])],
    ids=str,
)
def test_a_lock_pins_what_the_project_asks_for(lock: str, extras: list[str], project: dict[str, Any]) -> None:
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    pins = pins_of(lock) | {"torch": pins_of("torch-cpu")["torch"]}
    for requirement in (Requirement(line) for group in groups for line in group):
        versions = pins.get(requirement.name.lower(), set())
        assert versions, f"{requirement} is missing: make lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: make lock"


@pytest.mark.parametrize("lock", DEPLOYED)
def test_what_is_deployed_is_pinned_by_hash(lock: str) -> None:
    entries = re.split(r"\n(?=[\w.-]+==)", read(lock))[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("lock", ["api", "worker"])
def test_what_is_deployed_is_what_is_developed_with(lock: str) -> None:
    developed = pins_of("dev")
    assert {name for name, versions in pins_of(lock).items() if not versions <= developed.get(name, set())} == set()


def test_the_api_has_no_torch_and_only_one_lock_has_cuda() -> None:
    assert pins_of("api").keys().isdisjoint({"torch", "diffusers", "transformers", "numpy"})
    with_cuda = {lock for lock in ("dev", *DEPLOYED) if any(name.startswith("nvidia-") for name in pins_of(lock))}
    assert with_cuda == {"torch-cuda"}


def test_cpu_torch_is_asked_for_by_name() -> None:
    wanted = (ROOT / "requirements" / "torch-cpu.in").read_text(encoding="utf-8")
    version = re.search(r"torch==([\d.]+)\+cpu ; sys_platform == 'linux'", wanted)
    assert version is not None
    assert pins_of("torch-cuda")["torch"] == {Version(version[1])}
