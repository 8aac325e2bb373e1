"""The list of what an installation is made of."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from core import __version__
from core.sbom import bill_of_materials

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u14
Description: GNU C Library: Shared libraries
 Contains the standard libraries: libc.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""


@pytest.fixture
def status(tmp_path: Path) -> Path:
    path = tmp_path / "status"
    path.write_text(STATUS)
    return path


def test_the_document_is_cyclonedx() -> None:
    printed = subprocess.check_output([sys.executable, "-m", "core.sbom"], text=True)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(printed) is None
    assert json.loads(printed)["metadata"]["component"]["version"] == __version__


def test_it_names_python_packages_the_interpreter_and_what_debian_has_installed(status: Path) -> None:
    versions = {component["purl"]: component["version"] for component in bill_of_materials(status)["components"]}
    of_python = {purl for purl in versions if purl.startswith("pkg:pypi/")}
    assert any(purl.startswith("pkg:pypi/fastapi@") for purl in of_python)
    assert any(purl.startswith("pkg:generic/python@3.") for purl in versions)
    of_debian = {purl: version for purl, version in versions.items() if purl.startswith("pkg:deb/")}
    assert of_debian == {"pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64": "2.36-9+deb12u14"}


def test_a_system_without_dpkg_has_no_packages_of_debian(tmp_path: Path) -> None:
    components = bill_of_materials(tmp_path / "none")["components"]
    assert components
    assert not any(component["purl"].startswith("pkg:deb/") for component in components)
