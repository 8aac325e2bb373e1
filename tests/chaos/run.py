"""One run: jobs are posted while saboteurs work; afterwards the house is left alone until every job is over."""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cli.processes import StackError
from tests.chaos.house import WORKERS, ChaosHouse
from tests.chaos.ledger import Ledger, make_ledger, wait_until_over
from tests.chaos.saboteurs import of_render_processes, of_what_they_stand_on, of_whole_processes
from tests.chaos.studio import Answers, Studio

POSTED_WITHIN = 0.6
"""Of the time of the faults: most jobs are to be rendered while faults are caused."""


@dataclass(frozen=True)
class Outcome:
    """A run: what was done to the house, how requests were answered meanwhile, and what came of the jobs."""

    seed: int
    seconds_under_fire: float
    seconds_until_all_over: float
    deeds: Counter[str]
    answers: Answers
    ledger: Ledger

    def table(self) -> str:
        """The run in Markdown."""
        lines = [f"Seed {self.seed}: {self.seconds_under_fire:.0f} s of faults, {WORKERS} workers, 2 APIs.", ""]
        lines += ["| fault caused | times |", "|---|---|"]
        lines += [f"| {name} | {times} |" for name, times in sorted(self.deeds.items())]
        lines += ["", "| answers to POST /jobs meanwhile | number | longest wait |", "|---|---|---|"]
        for status, number in sorted(self.answers.count.items()):
            name = str(status) if status else "none: that API was being killed"
            lines.append(f"| {name} | {number} | {self.answers.longest_s[status]:.2f} s |")
        lines += ["", "| counted | number |", "|---|---|"]
        lines += [f"| {meaning} | {number} |" for meaning, number in self.ledger.rows()]
        lines += ["", f"All jobs were over {self.seconds_until_all_over:.0f} s after the last fault."]
        return "\n".join(lines)


def run_chaos(folder: Path, *, seed: int, jobs: int, seconds: float, long_outage: bool, drain_s: float) -> Outcome:
    """Run it in `folder`, which is empty. `long_outage`: Redis is away for 30 s once, in the middle."""
    with ChaosHouse(folder) as house:
        studio = Studio(house.urls, house.inputs, jobs=jobs, seconds=seconds * POSTED_WITHIN)
        ids, deeds, under_fire_s = _under_fire(house, studio, seed, seconds, long_outage=long_outage)
        fire_ended, started = datetime.now(UTC), time.monotonic()
        wait_until_over(house, drain_s)
        drained_s = time.monotonic() - started
        _dismiss_workers(house)
        return Outcome(seed, under_fire_s, drained_s, deeds, studio.answers, make_ledger(house, ids, fire_ended))


def _under_fire(
    house: ChaosHouse, studio: Studio, seed: int, seconds: float, *, long_outage: bool
) -> tuple[list[str], Counter[str], float]:
    """Post the jobs while saboteurs work; the ids of the jobs, the deeds, and how many seconds it took."""
    started = time.monotonic()
    ground = of_what_they_stand_on(house, seed, long_outage_after_s=seconds / 2 if long_outage else None)
    with of_render_processes(house, seed) as renders, of_whole_processes(house, seed) as whole, ground:
        ids = studio.post_all()
        time.sleep(max(0.0, started + seconds - time.monotonic()))
    return ids, renders.done + whole.done + ground.done, time.monotonic() - started


def _dismiss_workers(house: ChaosHouse) -> None:
    """Stop the workers. StackError if one had ended by itself: whatever happens around it, a worker stays."""
    for worker in house.workers:
        if worker.returncode is not None:
            raise StackError(f"{worker.name} ended with status {worker.returncode}.\n{worker.log_tail()}")
        worker.stop(grace_s=30)
