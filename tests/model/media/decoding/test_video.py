"""Frames in any order are the frames of one full decode, whatever codec and container do with time."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.errors import CorruptMedia
from model.media.decoding import video
from model.media.decoding.source import MediaSource
from model.media.frame import Frame
from model.plan import MediaLimits
from tests.media_factory import make_video

FRAMES = 60
VFR = [0, 10, 50, 51, 52, 130, 170, 171, 200, 240]
QUIET_X265 = {"x265-params": "log-level=none"}


def decoded(path: Path) -> list[Frame]:
    """All frames, from start to end."""
    with path.open("rb") as file:
        return list(video.decode_frames(MediaSource(file, MediaLimits())))


def decoded_in_order(path: Path, indices: list[int], source_pts: Sequence[int] = ()) -> list[Frame]:
    with path.open("rb") as file:
        return list(video.decode_frames_in_order(MediaSource(file, MediaLimits()), indices, source_pts))


def _h264(path: Path, **kind: object) -> Path:
    return make_video(path, frames=FRAMES, gop=12, **kind)  # type: ignore[arg-type]


CLIPS: dict[str, Callable[[Path], Path]] = {
    "h264 with B-frames": lambda f: _h264(f / "a.mp4", b_frames=3),
    "h264 open GOP": lambda f: _h264(f / "a.mp4", b_frames=3, options={"x264-params": "open-gop=1"}),
    "h264 open GOP in mkv": lambda f: _h264(f / "a.mkv", b_frames=3, options={"x264-params": "open-gop=1"}),
    "h264 intra refresh": lambda f: _h264(f / "a.mp4", b_frames=0, options={"x264-params": "intra-refresh=1"}),
    "h264 in a transport stream": lambda f: _h264(f / "a.ts", b_frames=2),
    "h264 that starts late": lambda f: _h264(f / "a.mp4", pts=list(range(40, 40 + FRAMES))),
    "h264 of variable rate": lambda f: _h264(
        f / "a.mp4", time_base=Fraction(1, 1000), pts=[260 * (i // 10) + VFR[i % 10] for i in range(FRAMES)]
    ),
    "h264 of one GOP": lambda f: make_video(f / "a.mp4", frames=FRAMES, gop=1000),
    "HEVC": lambda f: _h264(f / "a.mp4", codec="libx265", options=QUIET_X265),
    "HEVC open GOP": lambda f: _h264(
        f / "a.mp4", codec="libx265", options={"x265-params": "log-level=none:open-gop=1:keyint=12"}
    ),
    "VP9": lambda f: _h264(f / "a.webm", codec="libvpx-vp9", options={"auto-alt-ref": "1", "lag-in-frames": "16"}),
    "VP8 with hidden frames": lambda f: _h264(
        f / "a.webm", codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16"}
    ),
    "AV1": lambda f: _h264(f / "a.mp4", codec="libsvtav1", options={"preset": "12"}),
    "ProRes": lambda f: make_video(f / "a.mov", frames=FRAMES, codec="prores_ks", pixel_format="yuv422p10le"),
    "MPEG-4 in AVI": lambda f: _h264(f / "a.avi", codec="mpeg4", b_frames=2, color=None),
}


@pytest.fixture(scope="module", params=list(CLIPS))
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CLIPS[request.param](tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def truth(clip: Path) -> list[Frame]:
    """The clip's frames, decoded once from start to end."""
    return decoded(clip)


def assert_same(got: list[Frame], truth: list[Frame], indices: list[int]) -> None:
    assert [frame.index for frame in got] == indices
    for frame in got:
        expected = truth[frame.index]
        assert frame.pts == expected.pts
        assert np.array_equal(frame.planes.y, expected.planes.y)
        assert np.array_equal(frame.planes.u, expected.planes.u)


def test_every_frame_is_there(truth: list[Frame]) -> None:
    assert len(truth) == FRAMES


ORDERS = {
    "jumps": [30, 31, 32, 5, 59, 0, 1, 29, 28, 30],
    "bounce": [*range(FRAMES), *range(FRAMES - 2, 0, -1), *range(5)],
    "loop": [*range(FRAMES), *range(FRAMES)],
    "hold": [57, 58, 59, 59, 59, 59],
    "every frame alone": [37 * i % FRAMES for i in range(FRAMES)],
}


@pytest.mark.parametrize("order", list(ORDERS))
@pytest.mark.parametrize("known", [True, False], ids=["times known", "times unknown"])
def test_any_order_gives_the_same_frames(
    clip: Path, truth: list[Frame], order: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.media.decoding.cursor._SEEK_WORTHWHILE_FRAMES", 3)
    monkeypatch.setattr(video, "_BLOCK_BYTES", 20 * 3 * 64 * 48)
    indices = ORDERS[order]

    got = decoded_in_order(clip, indices, [frame.pts for frame in truth] if known else ())

    assert_same(got, truth, indices)


@given(st.lists(st.integers(0, 19), min_size=1, max_size=30))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_asked_for_is_the_order_given(tmp_path: Path, indices: list[int]) -> None:
    path = tmp_path / "a.mp4"
    if not path.exists():
        make_video(path, frames=20, gop=5)

    assert [frame.index for frame in decoded_in_order(path, indices)] == indices


def test_a_backward_run_holds_one_block_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_BLOCK_BYTES", 8 * 3 * 64 * 48)

    runs = list(video._runs(range(99, -1, -1), 8))

    assert max(len(run) for run in runs) == 8
    assert [index for run in runs for index in run] == list(range(99, -1, -1))


def test_a_frame_that_is_not_there_is_corrupt(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=5)

    with pytest.raises(CorruptMedia):
        decoded_in_order(path, [3, 9])


def test_wrong_times_cost_time_but_no_exactness(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=200, gop=10)
    truth = decoded(path)

    got = decoded_in_order(path, [199, 3], [7 * frame.pts + 1 for frame in truth])

    assert [frame.index for frame in got] == [199, 3]
    assert np.array_equal(got[0].planes.y, truth[199].planes.y)
    assert np.array_equal(got[1].planes.y, truth[3].planes.y)
