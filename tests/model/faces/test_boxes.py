"""Boxes that hold the face, rest when it rests, move with it, and do not follow its mouth."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.faces.boxes import shot_boxes
from model.faces.detector import Detection
from model.faces.tracks import Track
from tests.synthetic_faces import painted_facts

FACTS = painted_facts(width=1280, height=720)
FPS = 25


def track_of(faces: dict[int, tuple[float, float, float, float]]) -> Track:
    track = Track()
    for frame, (x, y, w, h) in faces.items():
        track.add(frame, Detection(x, y, w, h, 0.9))
    return track


def boxes_of(faces: dict[int, tuple[float, float, float, float]], frames: int, stride: int = 1) -> np.ndarray:
    return shot_boxes(track_of(faces), 0, frames, stride=stride, facts=FACTS)


def heights(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 3] - boxes[:, 1]


def test_proportions_are_the_published_ones():
    boxes = boxes_of(dict.fromkeys(range(20), (400.0, 200.0, 100.0, 140.0)), 20)
    assert (boxes == [390, 200, 510, 354]).all()


@given(
    x=st.floats(100, 900),
    y=st.floats(50, 400),
    noise=st.floats(0, 1.0),
    seed=st.integers(0, 1000),
    w=st.floats(60, 200),
)
@example(x=100.0, y=50.5, noise=1.0, seed=250, w=94.0)
def test_a_still_face_has_a_box_that_does_not_jitter(x, y, noise, seed, w):
    random = np.random.default_rng(seed)
    faces = {t: (x + random.normal(0, noise), y + random.normal(0, noise), w, w * 1.3) for t in range(100)}
    boxes = boxes_of(faces, 100)
    moves = np.abs(np.diff(boxes, axis=0))
    assert moves.max() <= 2
    assert (moves > 0).any(axis=1).mean() < 0.15


@given(opening=st.floats(0.0, 0.3), syllables_hz=st.floats(4.0, 8.0), phase=st.floats(0, 6.28))
def test_a_mouth_that_opens_and_closes_does_not_move_the_box(opening, syllables_hz, phase):
    seconds = np.arange(150) / FPS
    jaw = 0.5 + 0.5 * np.sin(2 * np.pi * syllables_hz * seconds + phase)
    # A detector that sees an open mouth makes the box higher, and shifts its top a little, too.
    faces = {t: (400.0, 200.0 - 10 * opening * jaw[t], 150.0, 200.0 * (1 + opening * jaw[t])) for t in range(150)}
    boxes = boxes_of(faces, 150)
    assert len(set(heights(boxes).tolist())) == 1
    middle = boxes[15:-15]
    assert np.ptp(middle[:, 1]) <= 1
    assert np.ptp(middle[:, [0, 2]], axis=0).max() == 0


@given(vx=st.floats(-4, 4), vy=st.floats(-2, 2), stride=st.sampled_from([1, 5]))
def test_a_face_that_moves_steadily_is_followed_without_delay(vx, vy, stride):
    faces = {t: (500 + vx * t, 200 + vy * t, 120.0, 160.0) for t in range(0, 101, stride)}
    boxes = boxes_of(faces, 101, stride)
    expected_left = 500 + vx * np.arange(101) - 12
    expected_top = 200 + vy * np.arange(101)
    assert np.abs(boxes[:, 0] - expected_left).max() <= 1.5
    assert np.abs(boxes[:, 1] - expected_top).max() <= 1.5


def test_the_height_of_a_shot_is_its_tallest_but_for_a_single_wrong_sighting():
    faces = {t: (400.0, 200.0, 100.0, 130.0 if 40 < t < 50 else 120.0) for t in range(100)}
    faces[70] = (400.0, 200.0, 100.0, 160.0)
    assert set(heights(boxes_of(faces, 100)).tolist()) == {143}


def test_a_face_that_comes_nearer_grows_slowly_and_stays_inside():
    face_heights = np.linspace(100, 300, 250)
    faces = {t: (500.0, 100.0, h * 0.75, h) for t, h in enumerate(face_heights)}
    boxes = boxes_of(faces, 250)
    assert (heights(boxes) >= face_heights).all()
    assert (heights(boxes) <= np.minimum(1.1 * face_heights + 60, 331)).all()
    assert np.abs(np.diff(heights(boxes))).max() <= 4


@pytest.mark.parametrize(("lost", "bridged"), [(7, True), (8, False)])
def test_a_loss_of_up_to_three_tenths_of_a_second_is_bridged(lost, bridged):
    faces = {t: (400.0, 200.0, 100.0, 140.0) for t in range(40) if not 20 <= t < 20 + lost}
    boxes = boxes_of(faces, 40)
    assert boxes[:20].any(axis=1).all()
    assert boxes[20 + lost :].any(axis=1).all()
    assert boxes[20 : 20 + lost].any(axis=1).all() == bridged
    assert boxes[20 : 20 + lost].any() == bridged


def test_a_face_is_absent_before_its_first_and_after_its_last_sighting():
    boxes = boxes_of(dict.fromkeys(range(10, 30), (400.0, 200.0, 100.0, 140.0)), 40)
    assert boxes.any(axis=1).nonzero()[0].tolist() == list(range(10, 30))


def test_nobody_was_there():
    assert not shot_boxes(None, 0, 5, stride=1, facts=FACTS).any()


face_path = st.fixed_dictionaries(
    {
        "x": st.floats(-300, 1300),
        "y": st.floats(-300, 700),
        "w": st.floats(10, 600),
        "h": st.floats(32, 800),
        "shake": st.floats(0, 40),
        "seed": st.integers(0, 10**6),
        "frames": st.integers(1, 40),
        "keep": st.floats(0.1, 1.0),
    }
)


@settings(max_examples=200)
@given(path=face_path, stride=st.sampled_from([1, 5]))
def test_every_box_lies_in_the_frame_and_is_either_empty_or_worth_cropping(path, stride):
    random = np.random.default_rng(path["seed"])
    seen = [t for t in range(0, path["frames"], stride) if random.random() < path["keep"]]
    shakes = {t: random.normal(0, path["shake"], 4) for t in seen}
    faces = {
        t: (path["x"] + s[0], path["y"] + s[1], max(4.0, path["w"] + s[2]), max(4.0, path["h"] + s[3]))
        for t, s in shakes.items()
    }
    boxes = shot_boxes(track_of(faces) if seen else None, 0, path["frames"], stride=stride, facts=FACTS)
    assert boxes.shape == (path["frames"], 4)
    for x0, y0, x1, y1 in boxes[boxes.any(axis=1)].tolist():
        assert 0 <= x0 <= x1 - 16 < x1 <= 1280
        assert 0 <= y0 <= y1 - 16 < y1 <= 720
    if seen:
        absent = np.ones(path["frames"], bool)
        absent[seen[0] : seen[-1] + 1] = False
        assert not boxes[absent].any()


def test_a_shot_in_the_middle_of_a_video_is_boxed_like_one_at_its_start():
    faces = {t: (400.0 + t, 200.0, 100.0, 140.0) for t in range(30)}
    later = {t + 1000: face for t, face in faces.items()}
    moved = shot_boxes(track_of(later), 1000, 1030, stride=1, facts=FACTS)
    assert (moved == boxes_of(faces, 30)).all()
