"""`make chaos`: print what came of the jobs, as a table; exit status 1 when a promise was broken."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.run import run_chaos

BEGIN, END = "<!-- written by make chaos -->\n", "<!-- end -->\n"
"""Between these lines of docs/reliability.md stands the latest run."""


def main() -> int:
    """Run as the arguments say; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0, help="of faults; jobs are posted in the first 60 %%")
    parser.add_argument("--keep", type=Path, help="an empty folder for logs and data, which is kept")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the table in this page by the new one")
    arguments = parser.parse_args()
    where = _where()
    with tempfile.TemporaryDirectory(prefix="highsync-chaos-") as temporary:
        outcome = run_chaos(
            arguments.keep or Path(temporary),
            seed=arguments.seed,
            jobs=arguments.jobs,
            seconds=arguments.seconds,
            long_outage=True,
            drain_s=600.0,
        )
    report = f"{where}\n\n{outcome.table()}\n"
    sys.stdout.write(report)
    if arguments.write:
        write_into(arguments.write, report)
    if outcome.ledger.faults:
        sys.stderr.write(f"Broken: {outcome.ledger.faults}\n")
    return 1 if outcome.ledger.faults else 0


def write_into(page: Path, report: str) -> None:
    """Put the report in the place of the one between BEGIN and END. ValueError if there is no such place."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the table, between {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}", encoding="utf-8")


def _where() -> str:
    """When, at which commit, on what, and how busy it was before."""
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "none"
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}"
    now = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"Measured on {now} at commit {commit}: {machine}, load before the start {os.getloadavg()[0]:.1f}."


if __name__ == "__main__":
    sys.exit(main())
