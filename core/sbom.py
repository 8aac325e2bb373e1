"""`python -m core.sbom`: what the installation around this file is made of, as CycloneDX 1.6. In an image: the image.

Python packages, the interpreter, and packages of Debian. What a wheel has inside (the codecs in PyAV) is in NOTICE.
"""

import json
import platform
import sys
import sysconfig
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from core import __version__

DPKG_STATUS = Path("/var/lib/dpkg/status")

Component = dict[str, Any]


def bill_of_materials(dpkg_status: Path = DPKG_STATUS) -> dict[str, Any]:
    """The document. `dpkg_status` may be absent: no Debian, no packages of Debian."""
    components = [_interpreter(), *_python_packages(), *_debian_packages(dpkg_status)]
    by_reference = {component["bom-ref"]: component for component in components}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "component": {
                "type": "application",
                "bom-ref": "highsync-service",
                "name": "highsync-service",
                "version": __version__,
                "licenses": [{"license": {"id": "MIT"}}],
            },
        },
        "components": [by_reference[reference] for reference in sorted(by_reference)],
    }


def _component(kind: str, name: str, version: str, purl: str) -> Component:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _interpreter() -> Component:
    version = platform.python_version()
    return _component("platform", "python", version, f"pkg:generic/python@{version}")


def _python_packages() -> Iterator[Component]:
    """Those of the environment that runs this, and those of the interpreter it was made from."""
    base = sysconfig.get_path("purelib", vars={"base": sys.base_prefix})
    for package in distributions(path=list(dict.fromkeys([*sys.path, base]))):
        name = package.name.lower().replace("_", "-")
        found = _component("library", package.name, package.version, f"pkg:pypi/{name}@{quote(package.version)}")
        if licence := _licence_of(package):
            found["licenses"] = [{"license": {"name": licence}}]
        yield found


def _licence_of(package: Distribution) -> str:
    """In the words of the package, when it says it in one line."""
    said = [package.metadata[field] for field in ("License-Expression", "License") if field in package.metadata]
    return next((licence for licence in said if licence and "\n" not in licence), "")


def _debian_packages(status: Path) -> Iterator[Component]:
    if not status.exists():
        return
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if line[:1].isalpha() and ": " in line)
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={fields['Architecture']}"
            yield _component("library", name, version, purl)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(bill_of_materials(), indent=2) + "\n")
