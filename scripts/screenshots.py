"""
Makes docs/images/studio-*.png anew: the studio page in Chromium, over a stack of its own that dubs the sample clip.

    python scripts/screenshots.py
"""

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from cli.embedded_stack import EmbeddedStack
from cli.sample_clip import SampleClip, make_sample_clip
from client import HighSync

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
COLOURS = (256, 192, 128, 96)
LARGEST_BYTES = 150_000
DESKTOP, TABLET = {"width": 1280, "height": 800}, {"width": 820, "height": 1180}
DUB_MS = 300_000
LONGEST_MS = 60_000


def keep(page: Page, name: str) -> None:
    """Write what the page shows as a small PNG, in as many colours as fit."""
    page.wait_for_timeout(300)
    picture, path = Image.open(io.BytesIO(page.screenshot())).convert("RGB"), IMAGES / f"studio-{name}.png"
    for colours in COLOURS:
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < LARGEST_BYTES:
            return
    raise RuntimeError(f"{path} has {path.stat().st_size} bytes")


def open_tab(browser: Browser, address: str, colours: str, size: dict[str, int]) -> Page:
    """A fresh tab in these colours."""
    page = browser.new_context(color_scheme=colours, viewport=size).new_page()
    page.set_default_timeout(LONGEST_MS)
    page.goto(address)
    return page


def make_dub(page: Page, clip: SampleClip) -> str:
    """Dub the clip on the page, as quickly as may be; the address of the job."""
    page.locator("input[type=file]").first.set_input_files(clip.video)
    page.locator("input[type=file]").last.set_input_files(clip.voice)
    page.get_by_label("Shot 1, face 1").check()
    page.get_by_label("Name").fill("Scene 12, German")
    keep(page, "new")
    page.get_by_label("Own").check()
    page.get_by_label("Steps").fill("1")
    page.get_by_label("Guidance").fill("1")
    page.get_by_role("button", name="Dub", exact=True).click()
    page.wait_for_selector("compare-player[data-state=ready]", timeout=DUB_MS)
    return page.url


def main() -> int:
    """Make all of them."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        clip = make_sample_clip(Path(folder))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with EmbeddedStack(Path(folder) / "stack") as stack, HighSync(stack.url) as client:
            page = open_tab(browser, stack.url, "dark", DESKTOP)
            job = make_dub(page, clip)
            page.get_by_label("Frame", exact=True).fill("45")
            keep(page, "compare")
            on_tablet = open_tab(browser, job, "light", TABLET)
            on_tablet.wait_for_selector("compare-player[data-state=ready]")
            on_tablet.get_by_label("Wipe", exact=True).check()
            on_tablet.get_by_role("slider", name="Wipe").fill("44")
            on_tablet.get_by_label("Frame", exact=True).fill("45")
            keep(on_tablet, "tablet")
            failed = client.submit(
                "http://media.example.com/13.mp4", str(clip.voice), metadata={"name": "Scene 13, German"}
            )
            client.wait(failed.id, 120)
            for number in (14, 15):
                client.submit(str(clip.video), str(clip.voice), metadata={"name": f"Scene {number}, German"})
            listed = open_tab(browser, f"{stack.url}/#/jobs", "light", DESKTOP)
            listed.wait_for_selector(".pill[data-status=running]")
            listed.wait_for_timeout(6000)
            keep(listed, "jobs")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
