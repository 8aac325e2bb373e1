"""The client when the service, the storage or the line is not well."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from client import DownloadDamaged, HighSync, LimitReached, ServiceUnavailable, Unreachable
from tests.client.conftest import DUBBED, VIDEO, VOICE
from tests.servers import free_port
from tests.sites import Page, Site, Visit

ACCEPTED = {"id": "job-1", "status": "queued"}
NOW = "2026-11-24T00:35:48+00:00"


def view(site: Site, **changes: Any) -> dict[str, Any]:
    """A finished job whose result is at /dubbed.mp4 of the site."""
    result = {
        "url": site.url("/dubbed.mp4?signature=secret"),
        "sha256": hashlib.sha256(DUBBED).hexdigest(),
        "bytes": len(DUBBED),
        "width": 64,
        "height": 48,
        "fps": 25.0,
        "frames": 100,
        "duration_s": 4.0,
        "weights": "fake",
    }
    times = {"created_at": NOW, "started_at": NOW, "finished_at": NOW}
    inputs = {"video_url": VIDEO, "audio_url": VOICE, "options": {}, "metadata": {}}
    state = {
        "status": "succeeded",
        "cancel_requested": False,
        "progress": None,
        "preflight": None,
        "error": None,
        "result": result,
    }
    return {"id": "job-1", **times, **inputs, **state, **changes}


def answers(*replies: tuple[int, dict[str, Any]], **headers: str) -> Page:
    """A page that gives these answers, one after another, and then the last one again."""
    waiting = list(replies)

    def page(visit: Visit) -> None:
        status, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        visit.reply(status, json.dumps(body).encode(), **(headers if status >= 400 else {}))

    return page


def keys_of(site: Site) -> list[str | None]:
    return [headers.get("Idempotency-Key") for method, path, headers, _ in site.visits if method == "POST"]


def test_while_the_service_is_away_reading_goes_on_when_it_asks_for_it(site: Site, lonely: HighSync) -> None:
    site.pages["/jobs/job-1"] = answers((503, {}), (502, {}), (200, view(site)), Retry_After="0")
    assert lonely.job("job-1").id == "job-1"
    assert len(site.visits) == 3


def test_patience_ends_with_what_the_service_says(site: Site) -> None:
    site.pages["/jobs/job-1"] = answers((503, {"code": "queue_unavailable", "title": "Queue unavailable"}))
    with HighSync(site.url(""), patience_s=0.5) as impatient, pytest.raises(ServiceUnavailable) as away:
        impatient.job("job-1")
    assert away.value.code == "queue_unavailable"
    assert len(site.visits) > 1


def test_a_pause_longer_than_the_patience_is_not_slept(site: Site, lonely: HighSync) -> None:
    site.pages["/jobs/job-1"] = answers((429, {"code": "rate_limited"}), Retry_After="3600")
    started = time.monotonic()
    with pytest.raises(LimitReached) as limited:
        lonely.job("job-1")
    assert time.monotonic() - started < 4.0
    assert limited.value.retry_after_s == 3600


def test_nobody_there_is_said_with_the_host_alone() -> None:
    port = free_port()
    with HighSync(f"http://127.0.0.1:{port}", patience_s=0.3) as alone, pytest.raises(Unreachable) as away:
        alone.job("job-1")
    assert f"http://127.0.0.1:{port} does not answer" in str(away.value)


def follow(site: Site, *looks: tuple[int, dict[str, Any]], **headers: str) -> Page:
    """A page of a job that is followed: these answers, each with these headers, and then its end."""
    waiting = [*looks, (200, view(site))]

    def page(visit: Visit) -> None:
        status, body = waiting.pop(0)
        visit.reply(status, b"" if status == 304 else json.dumps(body).encode(), **headers)

    return page


def looks_at(site: Site) -> list[tuple[str, str | None]]:
    """The query and the version of each look."""
    return [(path.partition("?")[2], headers.get("If-None-Match")) for _, path, headers, _ in site.visits]


def test_a_job_is_followed_by_waiting_for_a_change_of_the_version_last_seen(site: Site, lonely: HighSync) -> None:
    queued = view(site, status="queued", result=None)
    site.pages["/jobs/job-1"] = follow(site, (200, queued), (200, queued), ETag='W/"1"', Retry_After="3600")

    assert [job.status for job in lonely.watch("job-1")] == ["queued", "succeeded"]
    assert looks_at(site) == [("", None)] + [("wait=30.000", 'W/"1"')] * 2


def test_a_service_without_versions_is_looked_at_now_and_then(site: Site, lonely: HighSync) -> None:
    queued = view(site, status="queued", result=None)
    site.pages["/jobs/job-1"] = follow(site, (200, queued), (200, queued), Retry_After="0")

    assert [job.status for job in lonely.watch("job-1", timeout_s=60)] == ["queued", "succeeded"]
    assert looks_at(site) == [("", None)] * 3


def test_who_says_at_once_that_nothing_has_changed_is_not_asked_at_once(site: Site, lonely: HighSync) -> None:
    queued = view(site, status="queued", result=None)
    site.pages["/jobs/job-1"] = follow(site, (200, queued), (304, {}), ETag='W/"1"', Retry_After="1")
    started = time.monotonic()

    assert lonely.wait("job-1").status == "succeeded"
    assert time.monotonic() - started >= 1.0


def test_no_wait_is_longer_than_the_time_that_is_left(site: Site, lonely: HighSync) -> None:
    queued = view(site, status="queued", result=None)
    site.pages["/jobs/job-1"] = follow(site, (200, queued), ETag='W/"1"')

    lonely.wait("job-1", timeout_s=5)

    assert 0 < float(looks_at(site)[1][0].removeprefix("wait=")) < 5


def test_a_job_is_posted_under_a_key_of_its_own(site: Site, lonely: HighSync) -> None:
    site.pages["/jobs"] = answers((202, ACCEPTED))
    lonely.submit(VIDEO, VOICE)
    lonely.submit(VIDEO, VOICE)
    lonely.submit(VIDEO, VOICE, idempotency_key="scene-12")
    first, second, third = keys_of(site)
    assert first
    assert second
    assert first != second
    assert third == "scene-12"


def test_a_submission_is_repeated_under_the_same_key(site: Site, lonely: HighSync) -> None:
    under_way = {"code": "idempotency_key_in_use"}
    site.pages["/jobs"] = answers((503, {}), (409, under_way), (202, ACCEPTED), Retry_After="0")

    assert lonely.submit(VIDEO, VOICE).id == "job-1"

    assert len(keys_of(site)) == 3
    assert len(set(keys_of(site))) == 1


def test_a_submission_whose_answer_was_lost_is_repeated(site: Site, lonely: HighSync) -> None:
    broken = answers((202, ACCEPTED))
    site.pages["/jobs"] = lambda visit: None if len(site.visits) == 1 else broken(visit)

    assert lonely.submit(VIDEO, VOICE).id == "job-1"
    assert len(set(keys_of(site))) == 1


def test_the_key_goes_to_the_api_and_not_to_the_storage(site: Site, lonely: HighSync, tmp_path: Path) -> None:
    site.pages["/jobs/job-1"] = answers((200, view(site)))
    site.pages["/dubbed.mp4"] = lambda visit: visit.reply(200, DUBBED)
    lonely.download("job-1", tmp_path / "out.mp4")
    sent = {path.partition("?")[0]: headers.get("Authorization") for _, path, headers, _ in site.visits}
    assert sent == {"/jobs/job-1": "Bearer hs_secret", "/dubbed.mp4": None}


def test_an_answer_that_is_not_the_apis_is_an_error_all_the_same(site: Site, lonely: HighSync) -> None:
    site.pages["/jobs/job-1"] = lambda visit: visit.reply(500, b"<html>a proxy speaks</html>")
    with pytest.raises(Exception, match="http_error: HTTP 500"):
        lonely.job("job-1")


class Storage:
    """A page with ranges whose connection breaks after `portion` bytes."""

    def __init__(self, portion: int, *, ranges: bool = True) -> None:
        self.portion = portion
        self.ranges = ranges
        self.offsets: list[int] = []

    def __call__(self, visit: Visit) -> None:
        wanted = visit.headers.get("Range", "bytes=0-") if self.ranges else "bytes=0-"
        offset = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.offsets.append(offset)
        rest = DUBBED[offset:]
        visit.start({"Content-Length": str(len(rest))}, 206 if offset else 200)
        visit.wfile.write(rest[: self.portion])


def test_a_broken_download_goes_on_where_it_stopped(site: Site, lonely: HighSync, tmp_path: Path) -> None:
    site.pages["/jobs/job-1"] = answers((200, view(site)))
    site.pages["/dubbed.mp4"] = storage = Storage(portion=300_000)
    assert lonely.download("job-1", tmp_path / "out.mp4").read_bytes() == DUBBED
    assert storage.offsets == [0, 300_000, 600_000]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_download_of_an_earlier_process_is_taken_up(site: Site, tmp_path: Path) -> None:
    site.pages["/jobs/job-1"] = answers((200, view(site)))
    site.pages["/dubbed.mp4"] = storage = Storage(portion=300_000)
    with HighSync(site.url(""), patience_s=0.0) as hasty, pytest.raises(Unreachable):
        hasty.download("job-1", tmp_path / "out.mp4")
    storage.portion = len(DUBBED)
    with HighSync(site.url("")) as again:
        assert again.download("job-1", tmp_path / "out.mp4").read_bytes() == DUBBED
    assert storage.offsets == [0, 300_000]


def test_a_storage_without_ranges_is_read_from_the_start(site: Site, lonely: HighSync, tmp_path: Path) -> None:
    site.pages["/jobs/job-1"] = answers((200, view(site)))
    site.pages["/dubbed.mp4"] = storage = Storage(portion=300_000, ranges=False)
    (tmp_path / f".out.mp4.{hashlib.sha256(DUBBED).hexdigest()[:16]}.part").write_bytes(DUBBED[:1000])
    storage.portion = len(DUBBED)
    assert lonely.download("job-1", tmp_path / "out.mp4").read_bytes() == DUBBED


def test_an_expired_link_is_replaced_by_a_fresh_one(site: Site, lonely: HighSync, tmp_path: Path) -> None:
    fresh = view(site)
    fresh["result"] = fresh["result"] | {"url": site.url("/fresh.mp4")}
    site.pages["/jobs/job-1"] = answers((200, view(site)), (200, fresh))
    site.pages["/dubbed.mp4"] = lambda visit: visit.reply(403, b"<Error>expired</Error>")
    site.pages["/fresh.mp4"] = lambda visit: visit.reply(200, DUBBED)
    assert lonely.download("job-1", tmp_path / "out.mp4").read_bytes() == DUBBED


def test_a_damaged_file_is_not_left_in_its_place(site: Site, lonely: HighSync, tmp_path: Path) -> None:
    site.pages["/jobs/job-1"] = answers((200, view(site)))
    site.pages["/dubbed.mp4"] = lambda visit: visit.reply(200, DUBBED[:-1] + b"!")
    with pytest.raises(DownloadDamaged):
        lonely.download("job-1", tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_broke_is_sent_again_from_its_start(site: Site, lonely: HighSync, tmp_path: Path) -> None:
    (tmp_path / "scene.mp4").write_bytes(b"a scene")
    attempts: list[Visit] = []

    def take(visit: Visit) -> None:
        attempts.append(visit)
        if len(attempts) > 1:
            visit.reply(204)

    ticket = {"id": "upload://1", "method": "POST", "url": site.url("/put"), "headers": {}}
    site.pages["/uploads"] = answers((201, ticket))
    site.pages["/put"] = take
    assert lonely.upload(tmp_path / "scene.mp4") == "upload://1"
    assert [body for _, path, _, body in site.visits if path == "/put"] == [b"a scene", b"a scene"]
