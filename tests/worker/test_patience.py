"""Trying again while something is away."""

import pytest

from core.errors import StorageUnavailable
from worker.patience import keep_trying


class Door:
    """Closed for the first `refusals` knocks."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.knocks = 0

    def knock(self) -> str:
        self.knocks += 1
        if self.knocks <= self.refusals:
            raise StorageUnavailable("closed")
        return "open"


def test_an_operation_is_repeated_until_it_succeeds() -> None:
    door = Door(refusals=2)
    assert keep_trying(door.knock, while_raising=StorageUnavailable, give_up_after_s=5.0) == "open"
    assert door.knocks == 3


def test_patience_ends_with_the_operations_own_error() -> None:
    door = Door(refusals=1000)
    with pytest.raises(StorageUnavailable, match="closed"):
        keep_trying(door.knock, while_raising=StorageUnavailable, give_up_after_s=0.5)
    assert door.knocks > 1


def test_any_other_error_passes_at_once() -> None:
    door = Door(refusals=1)
    with pytest.raises(StorageUnavailable):
        keep_trying(door.knock, while_raising=KeyError, give_up_after_s=5.0)
    assert door.knocks == 1


def test_waiting_can_be_interrupted() -> None:
    def interrupt() -> None:
        raise InterruptedError

    door = Door(refusals=1000)
    with pytest.raises(InterruptedError):
        keep_trying(door.knock, while_raising=StorageUnavailable, give_up_after_s=60.0, before_retry=interrupt)
    assert door.knocks == 1
