"""What the terminal commands print to, and how they end."""

from rich.console import Console
from rich.text import Text

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_UNAVAILABLE = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
EXIT_INTERRUPTED = 130  # what a shell reports after Ctrl-C

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class CommandFailed(Exception):
    """A command cannot do what it was asked for. The message says why, in words for the user of a terminal."""


def say_error(message: str) -> None:
    """Print one error to stderr."""
    err.print(Text(f"error: {message}", style="red"))
