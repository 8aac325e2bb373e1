"""
How heavy the studio page is: bytes, requests, and the time until it can be used, in a fresh Chromium on loopback.

    python benchmarks/page_weight.py [--loads 7]

Ends with 1 when a limit is exceeded.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from playwright.sync_api import Browser, sync_playwright

from cli.processes import free_port
from core.logging import configure_logging
from core.settings import Settings
from service.app import create_app

SCRIPT_BYTES_LIMIT = 100_000
BYTES_LIMIT = 130_000
REQUESTS_LIMIT = 30
INTERACTIVE_LIMIT_MS = 1000.0
CHROMIUM = "/usr/bin/chromium"

MARKS = """() => ({
  interactive: performance.getEntriesByName("highsync-interactive")[0].startTime,
  painted: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
})"""


@dataclass(frozen=True)
class Load:
    """One load of the page: its answers (address, bytes), and milliseconds since it was asked for."""

    answers: tuple[tuple[str, int], ...]
    painted_ms: float
    interactive_ms: float

    def bytes(self, ending: str = "") -> int:
        """Of all answers whose address ends so."""
        return sum(size for address, size in self.answers if address.endswith(ending))


@contextmanager
def served_page() -> Iterator[str]:
    """An API of which nothing but the page is asked; its address."""
    port = free_port()
    settings = Settings(secret_key="x" * 40, log_level="WARNING")
    configure_logging(settings, "api")
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join()


def load(browser: Browser, url: str) -> Load:
    """Open the page with an empty cache."""
    context = browser.new_context()
    page = context.new_page()
    answers: list[tuple[str, int]] = []
    page.on("response", lambda answer: answers.append((answer.url, len(answer.body()))))
    page.goto(url, wait_until="networkidle")
    page.wait_for_selector("html[data-ready]")
    marks = page.evaluate(MARKS)
    context.close()
    return Load(tuple(answers), marks["painted"], marks["interactive"])


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=7)
    arguments = parser.parse_args()
    with served_page() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        loads = [load(browser, url) for _ in range(arguments.loads)]
        browser.close()
    last = loads[-1]
    findings = [
        ("JavaScript", last.bytes(".js"), SCRIPT_BYTES_LIMIT, "bytes"),
        ("all files", last.bytes(), BYTES_LIMIT, "bytes"),
        ("requests", len(last.answers), REQUESTS_LIMIT, ""),
        ("first paint, median", statistics.median(each.painted_ms for each in loads), INTERACTIVE_LIMIT_MS, "ms"),
        ("interactive, median", statistics.median(each.interactive_ms for each in loads), INTERACTIVE_LIMIT_MS, "ms"),
        ("interactive, slowest", max(each.interactive_ms for each in loads), 3 * INTERACTIVE_LIMIT_MS, "ms"),
    ]
    for name, value, limit, unit in findings:
        print(f"{name:22} {value:10,.0f} {unit:5} limit {limit:,.0f}{'' if value <= limit else '  EXCEEDED'}")
    return int(any(value > limit for _, value, limit, _ in findings))


if __name__ == "__main__":
    sys.exit(main())
