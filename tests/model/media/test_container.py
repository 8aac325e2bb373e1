"""Hostile files: nothing but real containers is opened, and nothing they name."""

import socket
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from model.errors import CorruptMedia, MediaTooLarge, NotMedia, NoVideoFrames
from model.media.audio import probe_audio
from model.media.decoding import container
from model.media.decoding.source import MediaSource
from model.media.reader import VideoReader, probe_video
from model.plan import MediaLimits
from tests.media_factory import (
    make_chapters,
    make_concat_script,
    make_dash_manifest,
    make_external_reference,
    make_hls_playlist,
    make_many_streams,
    make_session_description,
    make_subtitled_avi,
    make_video,
    rgb_picture,
)

LIMITS = MediaLimits()
HOSTILE_NAMES = ["x.mp4", "x.m3u8", "x.mpd", "x.wav"]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A real video that only a nested open could reach."""
    return make_video(tmp_path / "secret.mp4", frames=3)


@pytest.fixture
def trap() -> Iterator[tuple[str, list[bytes]]]:
    """An HTTP address on this machine, and what connects to it."""
    visits: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    visits.append(connection.recv(100))

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/segment.mp4", visits
        stop.set()
        thread.join()


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("make", [make_hls_playlist, make_concat_script, make_dash_manifest])
def test_files_that_name_other_files_are_not_media(
    tmp_path: Path, secret: Path, make: Callable[[Path, str], Path], name: str
) -> None:
    for target in (str(secret), f"file://{secret}", secret.name):
        hostile = make(tmp_path / name, target)

        with pytest.raises(NotMedia):
            probe_video(hostile, LIMITS)
        with pytest.raises(NotMedia):
            probe_audio(hostile, LIMITS)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_files_that_name_addresses_reach_nobody(tmp_path: Path, trap: tuple[str, list[bytes]], name: str) -> None:
    url, visits = trap
    for make in (make_hls_playlist, make_concat_script, make_dash_manifest):
        with pytest.raises(NotMedia):
            probe_video(make(tmp_path / name, url), LIMITS)

    assert visits == []


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_session_description_is_not_media(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotMedia):
        probe_video(make_session_description(tmp_path / name), LIMITS)


def test_a_playlist_among_the_subtitles_of_an_avi_reaches_nobody(tmp_path: Path, trap: tuple[str, list[bytes]]) -> None:
    url, visits = trap
    honest = make_subtitled_avi(tmp_path / "honest.avi", b"1\n00:00:00,000 --> 00:00:01,000\nhello\n\n")
    with av.open(str(honest)) as container:
        assert [stream.type for stream in container.streams] == ["video", "subtitle"]
        assert container.streams[1].codec_context.name == "srt"  # what lies there is opened as a file of its own
    playlist = make_hls_playlist(tmp_path / "x.m3u8", url).read_bytes()

    frames = list(VideoReader(make_subtitled_avi(tmp_path / "x.avi", playlist)).frames())

    assert len(frames) == 3
    assert visits == []


def test_pictures_that_lie_in_another_file_are_not_fetched_from_there(tmp_path: Path, secret: Path) -> None:
    pointing = make_external_reference(tmp_path / "x.mp4", secret)
    willing = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(str(pointing), options=willing) as opened:
        assert len(list(opened.decode(video=0))) == 3  # a decoder that is told to follow does

    with pytest.raises((NotMedia, CorruptMedia, NoVideoFrames)):
        list(VideoReader(pointing).frames())


@pytest.mark.parametrize("format", ["png", "mjpeg", "gif", "bmp", "tiff"])
def test_a_picture_under_the_name_of_a_video_is_not_media(tmp_path: Path, format: str) -> None:
    """What image2 and its kin read by content."""
    picture = tmp_path / "x.mp4"
    codec = av.CodecContext.create(format, "w")
    codec.width, codec.height, codec.time_base = 64, 48, Fraction(1, 25)
    codec.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8", "bmp": "bgr24"}.get(format, "rgb24")
    frame = av.VideoFrame.from_ndarray(rgb_picture(0, 64, 48), format="rgb24").reformat(format=codec.pix_fmt)
    picture.write_bytes(b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)]))

    with pytest.raises(NotMedia):
        probe_video(picture, LIMITS)


@pytest.mark.parametrize("pattern", ["frame%03d.png", "*.png", "/dev/fd/0", "image2:frame%d.jpg"])
def test_a_pattern_for_names_of_pictures_is_not_media(tmp_path: Path, pattern: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_text(f"{pattern}\n")

    with pytest.raises(NotMedia):
        probe_video(path, LIMITS)


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"<html>Not found</html>", b"\x00\x00\x00\x18ftypmp42", bytes(range(256)) * 64]
)
def test_files_that_are_nothing_are_not_media(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)

    with pytest.raises(NotMedia):
        probe_video(path, LIMITS)


@pytest.mark.parametrize(
    "name",
    [
        "http:evil.mp4",
        "-i.mp4",
        "a'b\"$(id)`\n.mp4",
        "concat:x|y.mp4",
        "tee:x|y.mp4",
        "subfile,,start,1,end,9,,:a.mp4",
        "%d.png",
        "frame%03d.jpg",
        "\u202e4pm.mp4",
        "x" * 250,
    ],
)  # fmt: skip
def test_a_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / "plain.mp4", frames=3).rename(tmp_path / name)

    assert probe_video(path, LIMITS).frames == 3


@pytest.mark.parametrize("lock", ["the list alone", "the refusal alone"])
def test_either_lock_holds_without_the_other(
    tmp_path: Path, secret: Path, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lock == "the list alone":
        monkeypatch.setattr(container, "_refuse_nested_open", None)
    else:
        monkeypatch.setattr(container, "_ACCEPTED_CONTAINERS", f"hls,concat,{container._ACCEPTED_CONTAINERS}")
    playlist = make_hls_playlist(tmp_path / "x.m3u8", str(secret))

    with playlist.open("rb") as file, pytest.raises((NotMedia, CorruptMedia, PermissionError)):  # noqa: SIM117
        with container.open_media(MediaSource(file, LIMITS)) as opened:
            next(opened.decode(video=0))


def test_ten_thousand_chapters_do_no_harm(tmp_path: Path) -> None:
    path = make_chapters(tmp_path / "book.mkv", 10_000)

    assert probe_video(path, LIMITS).frames == 1


def test_too_many_streams_are_too_large(tmp_path: Path) -> None:
    path = make_many_streams(tmp_path / "many.mkv", 34)

    with pytest.raises(MediaTooLarge):
        probe_video(path, LIMITS)


def test_metadata_that_is_no_text_does_no_harm(tmp_path: Path) -> None:
    path = make_video(tmp_path / "tagged.mkv", frames=3, metadata={"title": "MARKER<script>"})
    path.write_bytes(path.read_bytes().replace(b"MARKER", b"\xff\xfe\x1b[31"))

    assert probe_video(path, LIMITS).frames == 3


def test_a_missing_file_is_the_callers_fault_and_stays_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        probe_video(tmp_path / "nothing.mp4", LIMITS)
