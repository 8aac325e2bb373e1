"""The comparison to look at."""

from pathlib import Path

import numpy as np
import pytest

from model.media.reader import VideoReader, probe_video
from model.media.side_by_side import side_by_side
from model.plan import MediaLimits
from tests.media_factory import make_video

LIMITS = MediaLimits()


def plain(color: tuple[int, int, int], width: int, height: int, frames: int) -> list[np.ndarray]:
    return [np.full((height, width, 3), color, np.uint8)] * frames


def test_left_is_left_and_right_is_right(tmp_path: Path) -> None:
    red = make_video(tmp_path / "l.mp4", width=128, height=64, pictures=plain((200, 30, 30), 128, 64, 10))
    blue = make_video(
        tmp_path / "r.mp4", width=64, height=64, pictures=plain((30, 30, 200), 64, 64, 10), audio_seconds=0.4
    )

    side_by_side(red, blue, tmp_path / "both.mp4")

    rgb = next(VideoReader(tmp_path / "both.mp4").frames()).to_rgb()
    assert rgb.shape == (64, 192, 3)
    assert np.abs(rgb[32, 60] - np.array([200, 30, 30])).max() <= 6
    assert np.abs(rgb[32, 160] - np.array([30, 30, 200])).max() <= 6


def test_times_and_sound_are_those_of_the_right(tmp_path: Path) -> None:
    left = make_video(tmp_path / "l.mp4", frames=4, fps=25)
    right = make_video(tmp_path / "r.mp4", frames=15, fps=30, audio_seconds=0.5)

    side_by_side(left, right, tmp_path / "both.mp4")

    times = [frame.time_seconds for frame in VideoReader(tmp_path / "both.mp4").frames()]
    assert times == pytest.approx([frame.time_seconds for frame in VideoReader(right).frames()])
    assert probe_video(tmp_path / "both.mp4", LIMITS).has_audio


def test_a_left_that_ends_first_keeps_its_last_frame(tmp_path: Path) -> None:
    grays = [np.full((48, 64, 3), 40 + 40 * i, np.uint8) for i in range(3)]
    left = make_video(tmp_path / "l.mp4", frames=3, pictures=grays)
    right = make_video(tmp_path / "r.mp4", frames=8, audio_seconds=0.3)

    side_by_side(left, right, tmp_path / "both.mp4")

    levels = [int(frame.to_rgb()[24, 30, 0]) for frame in VideoReader(tmp_path / "both.mp4").frames()]
    assert levels == pytest.approx([40, 80, 120, 120, 120, 120, 120, 120], abs=5)
