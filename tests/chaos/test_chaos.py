"""A short run of `make chaos`: with each change, what it promises is tried for half a minute."""

from pathlib import Path

import pytest

from tests.chaos.run import run_chaos

pytestmark = pytest.mark.e2e


def test_nothing_accepted_is_lost_nor_done_twice(tmp_path: Path) -> None:
    outcome = run_chaos(tmp_path, seed=4, jobs=15, seconds=30.0, long_outage=False, drain_s=240.0)
    assert outcome.ledger.faults == {}
    assert outcome.ledger.succeeded == 15
    assert outcome.ledger.over_under_fire > 0
    assert outcome.deeds.total() >= 5
    assert outcome.answers.without_retry_after == 0
