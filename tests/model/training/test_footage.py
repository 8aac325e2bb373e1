"""What of a video is trained on, and why not."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.media.audio import read_audio_mono_16k
from model.plan import MediaLimits
from model.training.footage import Cut, Drop, Filters, Reason, Survey, cut, sharpness, survey
from tests.model.training.talking_videos import BrightRectangleDetector, Faces, rectangles
from tests.synthetic_faces import Rectangle

LIMITS = MediaLimits()
FILTERS = Filters(min_seconds=0.8, max_seconds=2.0, min_face_height=60, min_sharpness=0.0)
FACE: Rectangle = (100, 60, 80, 100)


def looked_at(path: Path, filters: Filters = FILTERS) -> Survey:
    return survey(path, filters, BrightRectangleDetector(), LIMITS)


def always(*faces: Rectangle) -> Faces:
    return lambda index: faces


def growing(index: int) -> Sequence[Rectangle]:
    return ((100, 60, 80, 80 + 2 * index),)


def leaving(index: int) -> Sequence[Rectangle]:
    return (FACE,) if index < 12 else ()


@pytest.mark.parametrize(
    ("faces", "reasons"),
    [
        pytest.param(always(), [Reason.NO_FACE], id="no face"),
        pytest.param(always(FACE, (220, 60, 70, 90)), [Reason.SEVERAL_FACES], id="two faces"),
        pytest.param(always((100, 60, 40, 50)), [Reason.SMALL_FACE], id="small"),
        pytest.param(growing, [Reason.CHANGING_SIZE], id="growing"),
        pytest.param(leaving, [Reason.TOO_SHORT, Reason.NO_FACE], id="leaving"),
    ],
)
def test_a_shot_that_is_not_fit_is_left_out_with_its_reason(
    tmp_path: Path, faces: Faces, reasons: list[Reason]
) -> None:
    found = looked_at(rectangles(tmp_path / "clip.mp4", 30, faces))
    assert found.passages == ()
    assert [drop.reason for drop in found.dropped] == reasons


def test_somebody_small_in_the_background_does_not_matter(tmp_path: Path) -> None:
    found = looked_at(rectangles(tmp_path / "clip.mp4", 30, always(FACE, (240, 20, 36, 40))))
    assert len(found.passages) == 1
    assert found.dropped == ()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda path: path.write_bytes(b"no video at all" * 99), Reason.UNREADABLE, id="no media"),
        pytest.param(lambda path: rectangles(path, 30, always(FACE), sound=False), Reason.NO_SOUND, id="silent film"),
        pytest.param(lambda path: rectangles(path, 20, always(FACE), fps=10), Reason.LOW_FRAME_RATE, id="slow"),
        pytest.param(lambda path: _cut_short(rectangles(path, 60, always(FACE))), Reason.UNREADABLE, id="cut short"),
    ],
)
def test_a_file_that_is_not_fit_is_left_out_with_its_reason(tmp_path: Path, make: Faces, reason: Reason) -> None:
    make(tmp_path / "clip.mp4")  # type: ignore[arg-type]
    found = looked_at(tmp_path / "clip.mp4")
    assert found.passages == ()
    assert [drop.reason for drop in found.dropped] == [reason]


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_cut_ends_a_passage(tmp_path: Path) -> None:
    other = (180, 100, 80, 100)
    path = rectangles(tmp_path / "clip.mp4", 70, lambda index: (FACE,) if index < 40 else (other,), cut_at=40)
    found = looked_at(path)
    assert [(passage.source_frames[0], len(passage.source_frames)) for passage in found.passages] == [
        (0, 40),
        (40, 30),
    ]


def test_a_long_passage_gives_clips_of_one_length(tmp_path: Path) -> None:
    found = looked_at(rectangles(tmp_path / "clip.mp4", 120, always(FACE)))
    assert [len(passage.source_frames) for passage in found.passages] == [40, 40, 40]
    assert [passage.source_frames[0] for passage in found.passages] == [0, 40, 80]


@pytest.mark.parametrize(("fps", "step"), [(25, 1), (50, 2)])
def test_frames_and_sound_of_a_clip_are_of_the_same_time(tmp_path: Path, fps: int, step: int) -> None:
    def moving(index: int) -> Sequence[Rectangle]:
        return ((100 + 2 * index // step, 60, 80, 100),)

    path = rectangles(tmp_path / "clip.mp4", 60 * step, moving, fps=fps)
    second = looked_at(path).passages[1]
    assert second.source_frames == tuple(range(30 * step, 60 * step, step))
    clip = cut(second, 128, FILTERS, LIMITS)
    assert isinstance(clip, Cut)
    sound = read_audio_mono_16k(path)[round(1.2 * 16_000) :][: 30 * 640]
    assert np.abs(clip.audio / 32768 - sound).max() < 1e-4
    assert clip.frames.shape == (30, 128, 128, 3)
    x0, _, x1, _ = second.boxes[7]
    left_in_crop = (100 + 2 * 37 - x0) / (x1 - x0) * 128
    white = np.flatnonzero(clip.frames[7, 64].mean(axis=-1) > 200)
    assert abs(white[0] - left_in_crop) <= 1.5


def test_boxes_have_one_height(tmp_path: Path) -> None:
    def chewing(index: int) -> Sequence[Rectangle]:
        return ((100, 60, 80, 100 + 10 * (index % 5 > 2)),)

    (passage,) = looked_at(rectangles(tmp_path / "clip.mp4", 40, chewing)).passages
    assert {y1 - y0 for _, y0, _, y1 in passage.boxes} == {round(1.1 * 110)}


def test_blur_and_silence_are_seen_when_a_passage_is_cut(tmp_path: Path) -> None:
    path = rectangles(tmp_path / "clip.mp4", 30, always(FACE))
    (passage,) = looked_at(path).passages
    blurred = cut(passage, 128, Filters(min_sharpness=1e6), LIMITS)
    silent = cut(passage, 128, Filters(min_sharpness=0.0, min_loudness_db=0.0), LIMITS)
    assert isinstance(blurred, Drop)
    assert isinstance(silent, Drop)
    assert (blurred.reason, silent.reason) == (Reason.BLURRED, Reason.SILENT)
    assert (blurred.start_seconds, blurred.end_seconds) == (0.0, 1.2)


def test_sharpness_falls_with_blur_and_hardly_depends_on_the_size_of_the_crop() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8)
    crops = [np.stack([cv2.resize(one, (side, side)) for one in noise]) for side in (256, 512)]
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 4.0) for one in crops[0]])
    assert sharpness(soft) < 0.2 * sharpness(crops[0])
    assert sharpness(crops[1]) == pytest.approx(sharpness(crops[0]), rel=0.3)
