"""`highsync doctor`: looks at everything that a job will need, before one does."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from cli.console import EXIT_FAILED, EXIT_OK, out
from cli.findings import Finding, Level, failure, ok
from cli.house_checks import check_disks, check_ports, check_redis, check_storage
from cli.machine_checks import check_machine
from core.settings import Settings, SettingsError, load_settings

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "bold red", Level.SKIPPED: "dim"}


def run_doctor(api_port: int, *, as_json: bool) -> int:
    """Look, and print what was found as a table or as one JSON object; the exit code is 1 when anything fails."""
    findings = list(_findings(api_port))
    is_well = all(finding.level is not Level.FAILURE for finding in findings)
    if as_json:
        print(json.dumps({"ok": is_well, "findings": [asdict(finding) for finding in findings]}, indent=2))  # noqa: T201
    else:
        _print(findings)
    return EXIT_OK if is_well else EXIT_FAILED


def _findings(api_port: int) -> Iterator[Finding]:
    try:
        settings = load_settings()
    except SettingsError as error:
        yield failure("settings", str(error), "docs/configuration.md lists them all; `make init` makes fresh secrets.")
        return
    yield ok("settings", "valid")
    yield from _of_this_house(settings, api_port)


def _of_this_house(settings: Settings, api_port: int) -> Iterator[Finding]:
    yield from check_redis(settings)
    yield from check_storage(settings)
    yield from check_disks(settings)
    yield from check_ports(api_port, settings)
    yield from check_machine(settings)


def _print(findings: Iterable[Finding]) -> None:
    table = Table("", "check", "found", box=None, pad_edge=False)
    for finding in findings:
        style = _STYLES[finding.level]
        table.add_row(Text(finding.level, style), finding.check, Text(finding.found))
        if finding.hint:
            table.add_row("", "", Text(finding.hint, style))
    out.print(table)
