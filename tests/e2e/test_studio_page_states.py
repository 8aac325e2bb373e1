"""What else the studio page shows and refuses, in a real browser over an API of which the worker alone is missing."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from pydantic import SecretStr

from client import HighSync
from core.api_keys import KeyLimits, Keyring, Scope
from core.errors import ErrorCode
from core.jobs import LOCAL_TENANT, JobFailure, JobId, Progress
from tests.browser import barriers, chromium, tab
from tests.client.conftest import VIDEO, VOICE, Service, served
from tests.core.houses import PREFLIGHT
from tests.servers import MotoServer, wait_until
from tests.service.conftest import make_settings

pytestmark = pytest.mark.e2e

MARKUP = '<img src="x" onerror="window.hit = 1"><script>window.hit = 1</script>'
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64)
MIB = 1024**2


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with served(make_settings(tmp_path), tmp_path) as service:
        yield service


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    with tab(browser) as page:
        page.set_default_timeout(20_000)
        page.goto(service.url)
        yield page


@pytest.fixture
def key(service: Service) -> str:
    """The service has keys from now on; this is one."""
    _, key = Keyring(service.services.keys, service.services.store).create(LOCAL_TENANT, Scope, KeyLimits())
    return key.get_secret_value()


def post(service: Service, name: str, key: str | None = None) -> JobId:
    """A job of this name, without the page."""
    with HighSync(service.url, key) as client:
        return JobId(client.submit(VIDEO, VOICE, metadata={"name": name}).id)


def fail(service: Service, job_id: JobId, message: str = "No frame shows a face.") -> None:
    service.services.store.fail(service.claim(job_id), JobFailure.of(ErrorCode.NO_FACE_FOUND, message))


def kept(page: Page) -> tuple[str | None, str | None]:
    """The key that the tab keeps, and the one that the device does."""
    names = ("sessionStorage", "localStorage")
    tab_key, device_key = (page.evaluate(f"{name}.getItem('highsync-key')") for name in names)
    return tab_key, device_key


class TestAKey:
    def test_is_asked_for_kept_by_the_tab_and_never_in_an_address(
        self, browser: Browser, service: Service, key: str
    ) -> None:
        with tab(browser) as page:
            addresses: list[str] = []
            page.on("request", lambda request: addresses.append(request.url))
            page.goto(f"{service.url}/#/jobs")
            dialog = page.get_by_role("dialog")
            dialog.get_by_label("Key", exact=True).fill("hs_000000000000_" + "x" * 43)
            dialog.get_by_role("button", name="Use this key").click()
            expect(dialog.get_by_role("alert")).to_contain_text("invalid_api_key")
            assert barriers(page) == []

            dialog.get_by_label("Key", exact=True).fill(key)
            dialog.get_by_role("button", name="Use this key").click()
            expect(page.get_by_text("No jobs yet")).to_be_visible()
            assert kept(page) == (key, None)
            page.reload()
            expect(page.get_by_text("No jobs yet")).to_be_visible()

            assert not [address for address in [*addresses, page.url] if key[3:] in address]

    def test_is_remembered_by_the_device_only_if_that_is_wanted(
        self, browser: Browser, service: Service, key: str
    ) -> None:
        with tab(browser) as page:
            page.goto(f"{service.url}/#/jobs")
            page.get_by_label("Key", exact=True).fill(key)
            page.get_by_label("Remember it on this device").check()
            page.get_by_role("button", name="Use this key").click()
            expect(page.get_by_text("No jobs yet")).to_be_visible()
            assert kept(page) == (None, key)

            page.get_by_role("button", name="API key").click()
            page.get_by_role("button", name="Forget the key").click()
            expect(page.get_by_role("dialog")).to_be_visible()
            assert kept(page) == (None, None)

    def test_is_asked_for_when_files_are_dropped_which_go_up_then(
        self, browser: Browser, service: Service, key: str, tmp_path: Path
    ) -> None:
        (tmp_path / "scene.mp4").write_bytes(WAV)
        with tab(browser) as page:
            page.goto(service.url)
            page.locator("input[type=file]").first.set_input_files(tmp_path / "scene.mp4")
            page.get_by_label("Key", exact=True).fill(key)
            page.get_by_role("button", name="Use this key").click()

            expect(page.get_by_text("uploaded")).to_be_visible()

    def test_follows_a_job_and_is_asked_for_anew_once_it_is_revoked(
        self, browser: Browser, service: Service, key: str
    ) -> None:
        job_id = post(service, "Scene 1", key)
        with tab(browser) as page:
            page.goto(f"{service.url}/#/jobs/{job_id}")
            page.get_by_label("Key", exact=True).fill(key)
            page.get_by_role("button", name="Use this key").click()
            expect(page.get_by_text("Waiting for a worker")).to_be_visible()

            lease = service.claim(job_id)
            progress = Progress(stage="denoise", fraction=0.42, frames_done=42, frames_total=100, eta_s=61.0)
            service.services.store.report_progress(lease, progress)
            expect(page.get_by_text("Rendering lips")).to_be_visible()
            expect(page.get_by_text("42 of 100 frames · 42 %")).to_be_visible()
            expect(page.get_by_text("About 1 min 1 s left")).to_be_visible()
            expect(page).to_have_title(re.compile("^42 % · Scene 1 .* HighSync$"))

            (only,) = service.services.keys.list()
            Keyring(service.services.keys, service.services.store).revoke(only.id)
            expect(page.get_by_role("dialog")).to_contain_text("invalid_api_key")


class TestTexts:
    def test_of_jobs_are_never_markup(self, page: Page, service: Service) -> None:
        """Attack 56."""
        metadata = {"name": MARKUP, "video": MARKUP, "voice": MARKUP}
        with HighSync(service.url) as client:
            job_id = JobId(client.submit(VIDEO, VOICE, metadata=metadata).id)
        lease = service.claim(job_id)
        warning = PREFLIGHT.warnings[0].model_copy(update={"message": MARKUP, "code": MARKUP})
        service.services.store.report_preflight(lease, PREFLIGHT.model_copy(update={"warnings": (warning,)}))
        service.services.store.fail(lease, JobFailure.of(ErrorCode.NO_FACE_FOUND, MARKUP))

        page.goto(f"{service.url}/#/jobs")
        expect(page.locator(".job-name a")).to_have_text(MARKUP)
        page.locator(".job-name a").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(MARKUP)
        expect(page.get_by_role("alert")).to_contain_text(MARKUP)
        expect(page.locator(".warnings")).to_contain_text(MARKUP)
        expect(page.locator(".side")).to_contain_text(MARKUP)
        for address in (f"#/jobs?q={MARKUP}", f"#/{MARKUP}", f"#/jobs/{MARKUP}"):
            page.goto(f"{service.url}/{address}")
            expect(page.get_by_role("heading").first).to_be_visible()

        assert page.evaluate("window.hit") is None
        assert page.locator("main img, main script").count() == 0

    def test_cannot_become_markup_whatever_a_script_does(self, browser: Browser, service: Service) -> None:
        """Attack 56: were there a hole in the page, the browser would still refuse."""
        page = browser.new_page()
        page.goto(service.url)
        refused = page.evaluate("(text) => { try { document.body.innerHTML = text; } catch { return true; } }", MARKUP)

        assert refused
        assert page.evaluate("window.hit") is None
        page.close()


class TestTheList:
    def test_is_filtered_and_searched_and_both_stand_in_its_address(self, page: Page, service: Service) -> None:
        fail(service, post(service, "Scene one"))
        fail(service, post(service, "Scene two"))
        waiting = post(service, "Scene two, again")
        names = page.locator(".job-name a")
        page.get_by_role("link", name="Jobs").click()
        expect(names).to_have_text(["Scene two, again", "Scene two", "Scene one"])
        assert barriers(page) == []

        page.get_by_label("State").select_option("Failed")
        expect(names).to_have_text(["Scene two", "Scene one"])
        page.get_by_label("Search").fill("TWO")
        expect(names).to_have_text(["Scene two"])
        assert page.url == f"{service.url}/#/jobs?status=failed&q=TWO"
        page.reload()
        expect(names).to_have_text(["Scene two"])

        page.get_by_label("Search").fill("three")
        expect(page.get_by_text("No job fits")).to_be_visible()
        page.get_by_label("State").select_option("All states")
        page.get_by_label("Search").fill(waiting[-8:])
        expect(names).to_have_text(["Scene two, again"])

    def test_goes_on_to_older_jobs_and_keeps_itself_up_to_date(self, page: Page, service: Service) -> None:
        for number in range(52):
            post(service, f"Scene {number}")
        rows = page.locator(".jobs tbody tr")
        page.get_by_role("link", name="Jobs").click()
        expect(rows).to_have_count(50)
        page.get_by_role("button", name="Older jobs").click()
        expect(rows).to_have_count(52)

        post(service, "The newest")
        expect(rows.first).to_contain_text("The newest")
        expect(rows).to_have_count(53)


class TestAJob:
    def test_that_failed_says_why_and_is_retried(self, page: Page, service: Service) -> None:
        job_id = post(service, "Scene 1")
        fail(service, job_id)
        page.goto(f"{service.url}/#/jobs/{job_id}")
        expect(page.get_by_role("alert")).to_contain_text("No frame shows a face.")
        expect(page.get_by_role("alert")).to_contain_text("no_face_found")
        assert barriers(page) == []

        page.get_by_role("button", name="Retry").click()

        expect(page.get_by_text("Waiting for a worker")).to_be_visible()
        expect(page.get_by_role("link", name=job_id[-8:])).to_be_visible()

    def test_is_canceled_and_deleted(self, page: Page, service: Service) -> None:
        page.goto(f"{service.url}/#/jobs/{post(service, 'Scene 1')}")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".pill")).to_have_text("Canceled")

        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Keep it").click()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()

        expect(page.get_by_text("No jobs yet")).to_be_visible()

    def test_that_nobody_knows_is_told(self, page: Page, service: Service) -> None:
        page.goto(f"{service.url}/#/jobs/{'0' * 36}")

        expect(page.get_by_role("alert")).to_contain_text("job_not_found")

    def test_whose_result_a_browser_cannot_play_can_still_be_downloaded(self, page: Page, service: Service) -> None:
        job_id = post(service, "Scene 1")
        service.work(job_id)

        page.goto(f"{service.url}/#/jobs/{job_id}")

        expect(page.get_by_text("This browser cannot play this format.")).to_be_visible()
        expect(page.get_by_text("It is at media.example.com, which this page does not load from.")).to_be_visible()
        with page.expect_download():
            page.get_by_role("link", name="Download").click()


@pytest.mark.parametrize("width", [360, 768, 1024])
def test_nothing_is_wider_than_the_screen(page: Page, service: Service, width: int) -> None:
    job_id = post(service, "A name without any place to break it at".replace(" ", "_"))
    service.work(job_id)
    page.set_viewport_size({"width": width, "height": 800})
    for address, shown in (
        ("", "Settings"),
        ("#/jobs", "A_name_without"),
        (f"#/jobs/{job_id}", "This browser cannot play this format."),
    ):
        page.goto(f"{service.url}/{address}")
        expect(page.get_by_text(shown).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def test_a_dub_is_made_with_the_keyboard_alone(page: Page, service: Service, tmp_path: Path) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"no way to {selector}")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    for name in ("scene.mp4", "voice.wav"):
        (tmp_path / name).write_bytes(WAV)
        tab_to("input[type=file]")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press(" ")
        chooser.value.set_files(tmp_path / name)
        expect(page.get_by_text(re.compile("uploaded")).last).to_be_visible()
    tab_to("input[name=quality]")
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("Fine").is_checked()
    tab_to("button[type=submit].primary")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    (job,) = [each for each in httpx.get(f"{service.url}/jobs").json()["jobs"] if not each["options"]["preflight_only"]]
    assert job["options"]["num_inference_steps"] == 40
    assert job["metadata"]["name"] == "scene.mp4"
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_a_job_whose_answer_is_lost_is_made_once(page: Page, service: Service, tmp_path: Path) -> None:
    lost: list[int] = []

    def lose_the_first(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().status)
            route.abort()

    page.route("**/jobs", lose_the_first)
    for number, name in enumerate(("scene.mp4", "voice.wav")):
        (tmp_path / name).write_bytes(WAV)
        page.locator("input-field").nth(number).locator("input[type=file]").set_input_files(tmp_path / name)
    page.get_by_role("button", name="Dub", exact=True).click()
    expect(page.get_by_text("Waiting for a worker", exact=True)).to_be_visible()

    jobs = httpx.get(f"{service.url}/jobs").json()["jobs"]
    assert lost == [202]
    assert len([job for job in jobs if not job["options"]["preflight_only"]]) == 1


def test_a_bucket_gets_a_file_in_parts(browser: Browser, tmp_path: Path, moto_server: MotoServer) -> None:
    bucket = {
        "storage_url": "s3://studio-page",
        "s3_endpoint": moto_server.url,
        "s3_access_key": "access",
        "s3_secret_key": SecretStr("secret"),
        "input_max_bytes": 1024**3,
    }
    (tmp_path / "scene.mp4").write_bytes(WAV + bytes(40 * MIB))
    with served(make_settings(tmp_path).model_copy(update=bucket), tmp_path) as service, tab(browser) as page:
        parts: list[str] = []
        page.on("request", lambda request: parts.append(request.url) if request.method == "PUT" else None)
        page.goto(service.url)
        page.locator("input[type=file]").first.set_input_files(tmp_path / "scene.mp4")
        expect(page.get_by_text("41.9 MB · uploaded")).to_be_visible()

        assert len(parts) > 1
        assert all(part.startswith(moto_server.url) for part in parts)
        wait_until(lambda: page.evaluate("document.querySelector('input-field').value").startswith("upload://"))
