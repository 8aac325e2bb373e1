"""A real browser for the tests of the studio page: Debian's Chromium, driven by Playwright."""

import base64
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 120_000
WCAG_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

MAKE_FILES = """(files) => {
  const transfer = new DataTransfer();
  for (const { name, type, content } of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  return transfer;
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine. Skips the test where there is none; in CI, fails it."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing = "the studio page is tested with chromium, which is not installed"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    arguments = ["--autoplay-policy=no-user-gesture-required", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Browser, **context: Any) -> Iterator[Page]:
    """A fresh tab, whose complaints are failures: exceptions, refused content, errors of the page's own."""
    complaints: list[str] = []
    fresh = browser.new_context(**context)
    fresh.set_default_timeout(PATIENCE_MS)
    page = fresh.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    try:
        yield page
    finally:
        fresh.close()
    assert [each for each in complaints if "Failed to load resource" not in each] == []


def drop(page: Page, selector: str, files: Sequence[tuple[Path, str]]) -> None:
    """Drop these files, each with its media type, onto an element."""
    contents = [
        {"name": path.name, "type": kind, "content": base64.b64encode(path.read_bytes()).decode()}
        for path, kind in files
    ]
    page.dispatch_event(selector, "drop", {"dataTransfer": page.evaluate_handle(MAKE_FILES, contents)})


def barriers(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 AA on the page as it is now, and where."""
    found = Axe().run(page, options={"runOnly": WCAG_AA}).response["violations"]
    return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
