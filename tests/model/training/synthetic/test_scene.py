"""What is drawn is what is claimed."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from model.faces.detector import DlibDetector
from model.training.synthetic.drawing import EyePose, MouthPose, lip_lines
from model.training.synthetic.heads import Head, Image
from model.training.synthetic.looks import Look
from model.training.synthetic.painting import paint_head
from model.training.synthetic.portrait import portrait_head
from model.training.synthetic.scene import Pose, Scene

HEIGHT = 230.0
SIZE = 256
GREEN = (0.0, 255.0, 0.0)
STRAIGHT = np.array([[HEIGHT, 0.0, 128.0], [0.0, HEIGHT, 0.0]])
AT_REST = MouthPose(aperture=0.0, width=0.0, rounding=0.0, tongue=0.1, tuck=0.0, jaw=0.0)


@cache
def head(number: int) -> Head:
    rng = np.random.default_rng(number)
    return paint_head(Look.drawn(rng), 290.0, rng)


def green_lipped(drawn: Head) -> Head:
    return replace(drawn, mouth=replace(drawn.mouth, lips=GREEN))


def pose(mouth: MouthPose, brow: float = 0.0, chin: float = 0.0) -> Pose:
    eyes = EyePose(1.0, 0.0, (0.0, 0.0))
    return Pose(STRAIGHT, (0.0, 0.0), mouth, eyes, brow, cheek=0.0, chin=chin, light=1.0, pan=(0.0, 0.0))


def shot(drawn: Head, at: Pose) -> Image:
    rng = np.random.default_rng(0)
    return Scene(drawn, np.full((SIZE, SIZE, 3), 128, np.uint8), rng).shoot(at, (0, 0, SIZE, SIZE), SIZE)


def is_green(picture: Image) -> np.ndarray:
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (green > red + 50) & (green > blue + 50)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("aperture", [0.0, 0.25, 0.6, 1.0])
def test_the_opening_in_the_picture_is_the_one_on_record(number: int, aperture: float) -> None:
    drawn, said = green_lipped(head(number)), replace(AT_REST, aperture=aperture, jaw=aperture)
    lips = np.flatnonzero(is_green(shot(drawn, pose(said)))[:, 128])
    between = lips[-1] - lips[0] + 1 - len(lips)
    seam = 2 if aperture == 0.0 else 0  # closed lips meet in a dark line
    assert abs(between - HEIGHT * lip_lines(drawn.mouth, said).gap) < 1.6 + seam


@pytest.mark.parametrize(("width", "rounding"), [(1.0, 0.0), (0.0, 0.0), (-0.8, 1.0)])
def test_the_width_in_the_picture_is_the_one_on_record(width: float, rounding: float) -> None:
    drawn, said = green_lipped(head(4)), replace(AT_REST, aperture=0.3, width=width, rounding=rounding)
    columns = np.flatnonzero(is_green(shot(drawn, pose(said))).any(axis=0))
    assert abs(columns[-1] - columns[0] + 1 - 2 * HEIGHT * lip_lines(drawn.mouth, said).half_width) < 4


def test_an_open_mouth_shows_teeth_and_a_dark_inside() -> None:
    drawn = head(1)
    picture = shot(drawn, pose(replace(AT_REST, aperture=1.0, jaw=1.0)))
    row = round(HEIGHT * drawn.mouth.y)
    inside = picture[row - 6 : row + 18, 118:138].astype(float).mean(axis=-1)
    assert inside.max() > 150
    assert inside.min() < 60


def test_a_chin_that_drops_moves_the_lower_face_only() -> None:
    drawn = head(2)
    moved = (shot(drawn, pose(AT_REST, chin=1.0)).astype(int) - shot(drawn, pose(AT_REST))) != 0
    assert not moved[: round(HEIGHT * drawn.mouth.y)].any()
    assert moved[round(HEIGHT * 0.95) :].mean() > 0.1


def test_brows_that_rise_leave_the_lower_face_alone() -> None:
    drawn = head(2)
    moved = (shot(drawn, pose(AT_REST, brow=1.0)).astype(int) - shot(drawn, pose(AT_REST))) != 0
    assert moved[: round(HEIGHT * 0.4)].any()
    assert not moved[round(HEIGHT * 0.65) :].any()


def test_a_detector_takes_the_heads_for_faces() -> None:
    detector = DlibDetector()
    wide = (-192.0, -160.0, 448.0, 480.0)
    heads = [*(head(number) for number in range(1, 5)), portrait_head(290.0, np.random.default_rng(0))]
    scenes = (Scene(one, np.full((720, 720, 3), 110, np.uint8), np.random.default_rng(0)) for one in heads)
    assert [len(detector.detect(scene.shoot(pose(AT_REST), wide, 640))) for scene in scenes] == [1] * 5
