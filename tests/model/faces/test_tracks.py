"""Detections become one track per face, and the track to dub is the one that is large and there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.faces.detector import Detection
from model.faces.tracks import ShotTracker, Track


def face(x: float, size: float = 100.0, y: float = 50.0) -> Detection:
    return Detection(x, y, size, size, 0.9)


def follow(*frames: list[Detection]) -> Track | None:
    tracker = ShotTracker()
    for index, detections in enumerate(frames):
        tracker.see(index, detections)
    return next(iter(tracker.tracks()), None)


@given(speed=st.floats(-30, 30), order=st.lists(st.booleans(), min_size=10, max_size=10))
def test_a_moving_face_stays_one_track_beside_another(speed, order):
    moving = [face(500 + speed * t) for t in range(10)]
    other = [face(1200, size=60) for _ in range(10)]
    frames = [[a, b] if first else [b, a] for a, b, first in zip(moving, other, order, strict=True)]
    track = follow(*frames)
    assert track is not None
    assert track.frames.tolist() == list(range(10))
    assert track.boxes[:, 0] == pytest.approx([face.x for face in moving], abs=1e-3)


def test_a_face_that_is_there_longer_wins_over_one_that_is_larger_for_a_moment():
    frames = [[face(0), face(500, size=150)] if t < 4 else [face(0)] for t in range(20)]
    track = follow(*frames)
    assert track is not None
    assert len(track) == 20


def test_a_face_that_comes_back_is_the_same_face():
    track = follow(*[[face(0)]] * 5, *[[]] * 30, *[[face(20)]] * 5)
    assert track is not None
    assert track.frames.tolist() == [0, 1, 2, 3, 4, 35, 36, 37, 38, 39]


def test_a_false_alarm_is_no_face():
    assert follow([face(0)], *[[]] * 20) is None


def test_one_sighting_is_enough_where_there_was_one_look():
    assert follow([face(0)]) is not None


def test_a_face_too_small_for_a_mouth_is_no_face():
    assert follow(*[[face(0, size=20)]] * 10) is None


def test_a_crowd_of_false_alarms_does_not_push_the_face_out():
    crowd = [[face(0, size=200), *(face(300 + 40 * i, 40, 300 + 50 * (t % 10)) for i in range(10))] for t in range(40)]
    track = follow(*crowd)
    assert track is not None
    assert len(track) == 40


def test_an_empty_shot_has_no_track():
    assert follow() is None
    assert follow([], []) is None
