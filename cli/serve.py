"""`highsync serve`: the whole service in the foreground."""

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from cli.console import out
from cli.embedded_stack import EmbeddedStack
from cli.reporting import reporting_errors

WATCH_S = 1.0


def run_stack(host: str, port: int, data: Path, *, allow_unauthenticated: bool) -> int:
    """Run Redis, API and worker until Ctrl-C or SIGTERM; the exit code."""
    settings = {"HIGHSYNC_ALLOW_UNAUTHENTICATED": "true"} if allow_unauthenticated else {}
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    return reporting_errors(lambda: _run_stack(host, port, data, settings))


def _run_stack(host: str, port: int, data: Path, settings: Mapping[str, str]) -> None:
    out.print(f"Starting Redis, API and worker; their logs are in {data / 'logs'}.")
    with EmbeddedStack(data, host=host, port=port, settings=settings) as stack:
        out.print(f"Ready: {stack.url}/docs (Ctrl-C stops everything)")
        while True:
            stack.check()
            time.sleep(WATCH_S)


def _as_ctrl_c(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
