"""Both detectors find real faces, agree on where they are, and refuse a file that is not the known one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import DetectorError
from model.faces.detector import (
    DETECTION_SIDE,
    MIN_CONFIDENCE,
    Detection,
    DlibDetector,
    FaceDetector,
    YunetDetector,
    _turn,
    make_detector,
    shrink,
)

ASTRONAUT_EYES_AND_CHIN = ((205, 120), (235, 120), (220, 172))
"""px in scikit-image's 512 px portrait of Eileen Collins."""


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module", params=["dlib", "yunet"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    return make_detector(None if request.param == "dlib" else request.getfixturevalue("yunet_path"))


def overlap(a: Detection, b: Detection) -> float:
    """Intersection over union."""
    across = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    down = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    shared = max(0.0, across) * max(0.0, down)
    return shared / (a.w * a.h + b.w * b.h - shared)


def test_the_one_face_of_a_portrait_is_boxed_from_forehead_to_chin(detector, portrait):
    (face,) = detector.detect(portrait)
    assert MIN_CONFIDENCE < face.confidence <= 1.0
    for x, y in ASTRONAUT_EYES_AND_CHIN:
        assert face.x < x < face.x + face.w
        assert face.y < y < face.y + face.h
    assert face.y < 90, "the forehead belongs to the face"


def test_boxes_are_in_pixels_of_the_picture_that_was_given(detector, portrait):
    (face,) = detector.detect(portrait)
    (larger,) = detector.detect(np.repeat(np.repeat(portrait, 3, axis=0), 3, axis=1))
    assert overlap(face.scaled(3.0), larger) > 0.75


def test_a_picture_turned_upright_without_a_copy_is_taken_too(detector, portrait):
    sideways = np.ascontiguousarray(np.rot90(portrait))
    assert len(detector.detect(np.rot90(sideways, -1))) == 1


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (33, 1000), (64, 64)])
def test_pictures_without_a_face_give_nothing(detector, shape):
    assert detector.detect(np.full((*shape, 3), 90, np.uint8)) == []


def test_both_detectors_mean_the_same_box(portrait, yunet_path):
    (by_yunet,) = YunetDetector(yunet_path).detect(portrait)
    (by_dlib,) = DlibDetector().detect(portrait)
    assert overlap(by_yunet, by_dlib) > 0.8


def test_a_head_turned_further_than_its_nose_reaches_is_told_by_yunet(portrait, yunet_path):
    (frontal,) = YunetDetector(yunet_path).detect(portrait)
    (mirrored,) = YunetDetector(yunet_path).detect(np.ascontiguousarray(portrait[:, ::-1]))
    assert frontal.turn is not None
    assert 0.0 <= frontal.turn < 0.5
    assert mirrored.turn == pytest.approx(frontal.turn, abs=0.1)


@pytest.mark.parametrize(("nose_x", "turn"), [(50.0, 0.0), (60.0, 0.25), (75.0, 0.625), (25.0, 0.625)])
@pytest.mark.parametrize("roll_degrees", [0, 30, 90, 180])
def test_turn_is_the_noses_way_along_the_line_of_the_eyes(nose_x, turn, roll_degrees):
    roll = np.exp(1j * np.radians(roll_degrees))
    points = np.array([30 + 40j, 70 + 40j, nose_x + 60j]) * roll
    assert _turn(np.stack([points.real, points.imag], axis=1).ravel()) == pytest.approx(turn)


def test_dlib_sees_no_noses(portrait):
    assert [face.turn for face in DlibDetector().detect(portrait)] == [None]


def test_dlib_looks_twice_for_a_small_face(portrait):
    small = np.full((480, 640, 3), 90, np.uint8)
    small[100:356, 200:456] = portrait[::2, ::2]
    assert len(DlibDetector().detect(small)) == 1


def test_a_missing_file_is_the_users_to_fix(tmp_path: Path):
    with pytest.raises(DetectorError, match=r"cannot be read"):
        make_detector(tmp_path / "nowhere.onnx")


def test_a_file_that_is_not_the_known_one_is_never_loaded(tmp_path: Path):
    (tmp_path / "other.onnx").write_bytes(b"not a network")
    with pytest.raises(DetectorError, match=r"sha256"):
        make_detector(tmp_path / "other.onnx")


@settings(max_examples=30)
@given(width=st.integers(1, 1500), height=st.integers(1, 1500))
def test_shrinking_fits_the_long_side_and_keeps_the_shape(width, height):
    picture = np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))
    small, factor = shrink(picture)
    assert max(small.shape[:2]) == min(max(width, height), DETECTION_SIDE)
    for side, original in zip(small.shape[:2], (height, width), strict=True):
        assert abs(side * factor - original) <= max(0.5 * factor, factor - original) + 1e-6


def test_scaling_a_detection_scales_its_box_only():
    assert Detection(1, 2, 3, 4, 0.7).scaled(2.0) == Detection(2, 4, 6, 8, 0.7)
