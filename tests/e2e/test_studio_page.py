"""The studio page in a real browser over a real stack: from two dropped files to the download, through an outage."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import PATIENCE_MS, barriers, chromium, drop, tab
from tests.e2e.house import Studio, voice
from tests.media_factory import make_video
from tests.servers import wait_until

pytestmark = pytest.mark.e2e

FRAMES = 32
FPS = 25
BIT_PX = 16
READ_NUMBERS = f"""() => ["original", "dub"].map((name) => {{
  const video = document.querySelector(`video.${{name}}`);
  const canvas = Object.assign(document.createElement("canvas"), {{ width: 6, height: 1 }});
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, video.videoHeight - {BIT_PX}, {BIT_PX * 6}, {BIT_PX}, 0, 0, 6, 1);
  const {{ data }} = context.getImageData(0, 0, 6, 1);
  return [0, 1, 2, 3, 4, 5].reduce((number, bit) => number + (data[4 * bit] > 127 ? 2 ** bit : 0), 0);
}})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def numbered_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait whose frames have their number in the bottom left corner, in black and white bits."""
    from skimage.data import astronaut

    pictures = [astronaut()[:384, 40:424].copy() for _ in range(FRAMES)]
    for number, picture in enumerate(pictures):
        for bit in range(6):
            picture[-BIT_PX:, BIT_PX * bit : BIT_PX * (bit + 1)] = 255 * (number >> bit & 1)
    path = tmp_path_factory.mktemp("numbered") / "scene 12.mp4"
    return make_video(path, width=384, height=384, frames=FRAMES, pictures=pictures)


@pytest.fixture(scope="module")
def new_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return voice(tmp_path_factory.mktemp("voice") / "line.wav", FRAMES / FPS)


@pytest.fixture(scope="module")
def dubbed(browser: Browser, studio: Studio, numbered_clip: Path, new_voice: Path) -> Iterator[Page]:
    """A job that was made on the page, done, with its player open. The tests that use it leave it so."""
    with tab(browser, color_scheme="dark") as page:
        page.goto(studio.stack.url)
        drop(page, "h1", [(new_voice, "audio/wav"), (numbered_clip, "video/mp4")])
        expect(page.locator(".face")).to_have_count(2, timeout=PATIENCE_MS)
        expect(page.locator(".face img")).to_have_js_property("complete", True)
        assert barriers(page) == []
        page.get_by_label("Shot 1, face 1").check()
        page.get_by_label("Own").check()
        page.get_by_label("Steps").fill("1")
        page.get_by_label("Guidance").fill("1")
        page.get_by_label("Name").fill("Scene 12")
        page.get_by_role("button", name="Dub", exact=True).click()
        expect(page.get_by_text(f"of {FRAMES} frames")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("compare-player[data-state=ready]")).to_be_visible(timeout=PATIENCE_MS)
        yield page


def test_a_job_is_what_was_asked_for(dubbed: Page, studio: Studio) -> None:
    job = studio.client.job(re.search(r"[0-9a-z]{36}", dubbed.url)[0])  # type: ignore[index]

    assert job.metadata == {"name": "Scene 12", "video": "scene 12.mp4", "voice": "line.wav"}
    assert dubbed.get_by_role("heading", level=1).text_content() == "Scene 12"
    facts = dubbed.locator(".side").text_content() or ""
    assert all(fact in facts for fact in (f"{FRAMES} frames", "s0f0", "tiny (untrained)"))


def test_both_videos_show_the_same_frame_wherever_one_goes(dubbed: Page) -> None:
    dubbed.keyboard.press("Home")
    numbers = []
    for key in ["ArrowRight", "ArrowRight", "End", "ArrowLeft", "Shift+ArrowLeft", "Home"]:
        dubbed.keyboard.press(key)
        expect(dubbed.locator("compare-player[data-settled]")).to_be_visible()
        numbers.append(dubbed.evaluate(READ_NUMBERS))
    assert numbers == [[frame, frame] for frame in (1, 2, FRAMES - 1, FRAMES - 2, FRAMES - 2 - FPS, 0)]


def test_while_they_play_they_stay_together(dubbed: Page) -> None:
    dubbed.keyboard.press("Home")
    dubbed.keyboard.press(" ")
    seen = []
    while (pair := dubbed.evaluate(READ_NUMBERS))[1] < FRAMES - 3:
        seen.append(pair)
    expect(dubbed.get_by_role("button", name="Play")).to_be_visible()

    apart = [abs(original - dub) for original, dub in seen]
    assert len({dub for _, dub in seen}) > 4
    assert np.median(apart[len(apart) // 2 :]) <= 1  # they begin up to three frames apart and catch up
    expect(dubbed.locator("compare-player[data-settled]")).to_be_visible()
    original, dub = dubbed.evaluate(READ_NUMBERS)
    assert original == dub


def test_a_range_is_looped(dubbed: Page) -> None:
    def go_to(frame: int) -> None:
        dubbed.get_by_label("Frame", exact=True).fill(str(frame))

    go_to(6)
    dubbed.keyboard.press("i")
    go_to(12)
    dubbed.keyboard.press("o")
    dubbed.get_by_role("button", name="Loop").click()
    dubbed.keyboard.press("k")
    seen = [dubbed.evaluate(READ_NUMBERS)[1]]
    wait_until(lambda: seen.append(dubbed.evaluate(READ_NUMBERS)[1]) or seen[-1] < seen[-2], what="a jump back")
    dubbed.keyboard.press("k")
    dubbed.keyboard.press("l")
    dubbed.keyboard.press("x")

    assert set(seen) <= set(range(6, 15))


def test_the_sound_is_the_dubs_or_the_originals(dubbed: Page) -> None:
    def muted() -> list[bool]:
        return dubbed.evaluate("['original', 'dub'].map((name) => document.querySelector(`video.${name}`).muted)")

    assert muted() == [True, False]
    dubbed.get_by_label("Original", exact=True).check()
    assert muted() == [False, True]
    dubbed.locator("h1").click()
    dubbed.keyboard.press("a")
    assert muted() == [True, False]


def test_the_wipe_shows_a_part_of_each(dubbed: Page) -> None:
    dubbed.keyboard.press("w")
    wipe = dubbed.get_by_role("slider", name=re.compile("Wipe"))
    wipe.fill("25")

    boxes = [dubbed.locator(f"video.{name}").bounding_box() for name in ("original", "dub")]
    assert boxes[0] == boxes[1]
    assert dubbed.get_by_label("Wipe", exact=True).is_checked()
    wipe.press("ArrowRight")
    assert wipe.input_value() == "26"
    assert barriers(dubbed) == []
    dubbed.keyboard.press("w")


def test_the_download_is_the_result(dubbed: Page, studio: Studio, tmp_path: Path) -> None:
    job = studio.client.job(re.search(r"[0-9a-z]{36}", dubbed.url)[0])  # type: ignore[index]
    assert job.result is not None

    with dubbed.expect_download() as download:
        dubbed.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "result.mp4")

    assert hashlib.sha256((tmp_path / "result.mp4").read_bytes()).hexdigest() == job.result.sha256
    assert download.value.suggested_filename == f"highsync-{job.id}.mp4"


def test_later_the_original_comes_from_the_service(dubbed: Page, browser: Browser) -> None:
    with tab(browser, color_scheme="light", viewport={"width": 820, "height": 1180}) as another:
        another.goto(dubbed.url)
        expect(another.locator("compare-player[data-state=ready][data-compares=true]")).to_be_visible()
        another.keyboard.press("End")
        expect(another.locator("compare-player[data-settled]")).to_be_visible()

        assert another.evaluate(READ_NUMBERS) == [FRAMES - 1, FRAMES - 1]
        assert barriers(another) == []


def test_without_the_original_the_dub_is_shown_alone(dubbed: Page, browser: Browser) -> None:
    with tab(browser) as another:
        another.route("**/files/uploads/**", lambda route: route.abort())
        another.goto(dubbed.url)

        expect(another.get_by_text("The original is not available here.")).to_be_visible()
        expect(another.locator("compare-player[data-state=ready][data-mode=dub]")).to_be_visible()
        expect(another.get_by_label("Side by side")).to_have_count(0)
        assert barriers(another) == []


def test_what_is_no_video_is_refused_with_what_to_do(
    browser: Browser, studio: Studio, tmp_path: Path, line: Path
) -> None:
    (tmp_path / "notes.mp4").write_text("not a video at all\n" * 50)
    with tab(browser) as page:
        page.goto(studio.stack.url)
        page.locator("input-field input[type=file]").nth(0).set_input_files(tmp_path / "notes.mp4")
        page.locator("input-field input[type=file]").last.set_input_files(line)

        problem = page.get_by_role("alert")
        expect(problem).to_contain_text("not_media")
        expect(problem).to_contain_text("Request")
        page.get_by_role("button", name="Change").first.click()
        expect(problem).not_to_be_visible()


def test_an_outage_is_told_and_what_runs_is_followed_on(
    browser: Browser, studio: Studio, clip: Path, line: Path
) -> None:
    with tab(browser) as page:
        job_id = studio.post(str(clip), str(line))
        page.goto(f"{studio.stack.url}/#/jobs/{job_id}")
        expect(page.locator(".progress")).to_be_visible()

        studio.stack.api.stop(15)
        expect(page.get_by_text("No connection to the service.")).to_be_visible()
        studio.stack.api = studio.stack.start_api()

        expect(page.get_by_text("No connection to the service.")).not_to_be_visible()
        expect(page.locator("compare-player[data-state=ready]")).to_be_visible(timeout=PATIENCE_MS)
