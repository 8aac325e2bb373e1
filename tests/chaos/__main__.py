"""`make chaos`: print what came of the jobs, as a table; exit status 1 when a promise was broken."""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import run_chaos


def main() -> int:
    """Run as the arguments say; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0, help="of faults; jobs are posted in the first 80 %%")
    parser.add_argument("--keep", type=Path, help="an empty folder for logs and data, which is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="highsync-chaos-") as temporary:
        outcome = run_chaos(
            arguments.keep or Path(temporary),
            seed=arguments.seed,
            jobs=arguments.jobs,
            seconds=arguments.seconds,
            long_outage=True,
            drain_s=600.0,
        )
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}"
    sys.stdout.write(f"{machine}. {outcome.table()}\n")
    if outcome.ledger.faults:
        sys.stderr.write(f"Broken: {outcome.ledger.faults}\n")
    return 1 if outcome.ledger.faults else 0


if __name__ == "__main__":
    sys.exit(main())
