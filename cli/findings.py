"""What `highsync doctor` finds: one line for each thing it has looked at, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. `skipped`: there was nothing to look at, or no way to."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at, `found` says what there is, and `hint` what to do where that is not well."""

    check: str
    level: Level
    found: str
    hint: str = ""


def ok(check: str, found: str) -> Finding:
    """It is well."""
    return Finding(check, Level.OK, found)


def warning(check: str, found: str, hint: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(check, Level.WARNING, found, hint)


def failure(check: str, found: str, hint: str) -> Finding:
    """Jobs would fail, or be lost."""
    return Finding(check, Level.FAILURE, found, hint)


def skipped(check: str, found: str) -> Finding:
    """It was not looked at, and why."""
    return Finding(check, Level.SKIPPED, found)
