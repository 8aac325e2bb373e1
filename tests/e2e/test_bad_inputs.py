"""Bad input: each kind has a code of its own, nothing crashes the worker, and the next job runs."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from client import ApiError
from tests import media_factory
from tests.e2e.house import Studio, failure_of
from tests.servers import wait_until
from tests.sites import Site

pytestmark = pytest.mark.e2e


def _noise(path: Path) -> Path:
    path.write_bytes(np.random.default_rng(1).bytes(10_000))
    return path


def _no_frames(path: Path) -> Path:
    with av.open(str(path), "w", container_options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    return path


def _no_sound(path: Path) -> Path:
    return media_factory.make_voice(path, samples=np.zeros((1, 0), np.float32))


def _damaged(path: Path) -> Path:
    samples = np.full((1, 16_000), np.nan, np.float32)
    return media_factory.make_voice(path, codec="pcm_f32le", samples=samples)


BAD_VIDEOS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "not_media": ("video.mp4", _noise),
    "no_video_stream": ("sound.wav", media_factory.make_voice),
    "no_video_frames": ("empty.mp4", _no_frames),
    "no_face_found": ("landscape.mp4", lambda path: media_factory.make_video(path, width=320, height=240)),
    "media_too_large": ("bomb.mp4", media_factory.make_picture_bomb),
}

BAD_VOICES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "audio_too_short": ("empty.wav", _no_sound),
    "silent_audio": ("silent.wav", lambda path: media_factory.make_voice(path, silent=True)),
    "corrupt_media": ("damaged.wav", _damaged),
    "no_audio_stream": ("mute.mp4", media_factory.make_video),
}


@pytest.mark.parametrize("code", BAD_VIDEOS)
def test_a_bad_video(studio: Studio, line: Path, tmp_path: Path, code: str) -> None:
    name, make = BAD_VIDEOS[code]
    job = studio.dub(studio.client.upload(make(tmp_path / name)), studio.client.upload(line))
    assert failure_of(job).code == code


@pytest.mark.parametrize("code", BAD_VOICES)
def test_a_bad_voice(studio: Studio, clip: Path, tmp_path: Path, code: str) -> None:
    name, make = BAD_VOICES[code]
    job = studio.dub(studio.client.upload(clip), studio.client.upload(make(tmp_path / name)))
    assert failure_of(job).code == code
    assert failure_of(job).message
    assert failure_of(job).hint


def test_a_page_is_refused_before_it_is_a_job(studio: Studio, line: Path, tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"<html>not a video</html>" * 100)
    with pytest.raises(ApiError) as refused:
        studio.post(studio.client.upload(tmp_path / "video.mp4"), studio.client.upload(line))
    assert (refused.value.status, refused.value.code) == (422, "not_media")


def test_a_page_in_place_of_a_video_is_not_fetched_to_its_end(studio: Studio, site: Site, line: Path) -> None:
    page = b"<html>Please log in</html>" * 100
    site.pages["/login.mp4"] = lambda visit: visit.reply(200, page, Content_Length="5000000")
    job = studio.dub(site.url("/login.mp4"), studio.client.upload(line))
    assert failure_of(job).code == "not_media"


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def _end_decoders(worker: int, end: signal.Signals) -> None:
    """Signal every process that decodes for a child of this worker; they come and go meanwhile."""
    for child in _children(worker):
        for pid in _children(child):
            with suppress(FileNotFoundError, ProcessLookupError):
                if b"model.media.sandbox" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, end)


@pytest.mark.parametrize(
    ("end", "code"), [(signal.SIGSEGV, "corrupt_media"), (signal.SIGKILL, "media_too_large")], ids=["crash", "memory"]
)
def test_a_decoder_that_dies_fails_its_job_and_leaves_the_worker(
    studio: Studio, long_clip: Path, long_line: Path, end: signal.Signals, code: str
) -> None:
    worker = studio.stack.worker.pid
    children = _children(worker)
    job_id = studio.post(studio.client.upload(long_clip), studio.client.upload(long_line))

    def over() -> bool:
        _end_decoders(worker, end)
        return studio.client.job(job_id).status.is_terminal

    wait_until(over, 120, what="the end of the job")
    assert failure_of(studio.client.job(job_id)).code == code
    assert _children(worker) == children


def test_a_playlist_named_mp4_opens_nothing(studio: Studio, site: Site, line: Path, tmp_path: Path) -> None:
    playlist = media_factory.make_hls_playlist(tmp_path / "video.mp4", site.url("/secret.ts"))
    site.pages["/video.mp4"] = lambda visit: visit.reply(200, playlist.read_bytes())
    job = studio.dub(site.url("/video.mp4"), studio.client.upload(line))
    assert failure_of(job).code == "not_media"
    assert not [visit for visit in site.visits if visit[1] == "/secret.ts"]


def test_a_url_with_nothing_behind_it(studio: Studio, site: Site, line: Path) -> None:
    job = studio.dub(site.url("/nothing-here.mp4"), studio.client.upload(line))
    assert failure_of(job).code == "download_not_found"


def test_a_file_over_the_limit(studio: Studio, site: Site, line: Path) -> None:
    site.pages["/huge.mp4"] = lambda visit: visit.reply(200, bytes(9 * 1024**2))
    job = studio.dub(site.url("/huge.mp4"), studio.client.upload(line))
    assert failure_of(job).code == "input_too_large"


@pytest.mark.parametrize(
    ("status", "code", "content"),
    [
        (400, "malformed_json", b'{"video_url": '),
        (
            422,
            "unknown_option",
            b'{"video_url": "http://a.test/v", "audio_url": "http://a.test/a", "options": {"x": 1}}',
        ),
        (422, "address_blocked", b'{"video_url": "http://10.0.0.1/v", "audio_url": "http://a.test/a"}'),
        (
            422,
            "upload_not_found",
            b'{"video_url": "upload://00000000000000000000000000000000", "audio_url": "http://a.test/a"}',
        ),
        (413, "request_too_large", b'{"metadata": "' + b"x" * 1_000_000 + b'"}'),
    ],
)
def test_a_bad_request_is_refused_at_once(studio: Studio, status: int, code: str, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{studio.stack.url}/jobs", content=content, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_after_all_of_them_the_same_worker_renders_the_next_job(studio: Studio, clip: Path, line: Path) -> None:
    job = studio.dub(studio.client.upload(clip), studio.client.upload(line))
    assert job.status == "succeeded", job.error
    assert studio.stack.worker.returncode is None
