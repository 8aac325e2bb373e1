"""Cuts are found where they are, and nowhere else."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.faces.shots import mark_cuts

WIDTH, HEIGHT = 96, 64


def scene(number: int) -> np.ndarray:
    """A large smooth picture to look at through a window."""
    coarse = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    return cv2.resize(coarse, (WIDTH * 4, HEIGHT * 4), interpolation=cv2.INTER_CUBIC)


def shot(number: int, frames: int, speed: int = 0, noise: float = 0.0) -> list[np.ndarray]:
    """A camera that pans over a scene, with sensor noise."""
    ground, random = scene(number), np.random.default_rng(number)
    views = (ground[speed * t : speed * t + HEIGHT, speed * t : speed * t + WIDTH] for t in range(frames))
    return [np.clip(view + random.normal(0, noise, view.shape), 0, 255).astype(np.uint8) for view in views]


def cuts(pictures: list[np.ndarray]) -> list[int]:
    return [index for index, (_, starts) in enumerate(mark_cuts(pictures)) if starts]


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(4, 12), min_size=1, max_size=5),
    speed=st.integers(0, 2),
    noise=st.floats(0.0, 8.0),
    first_scene=st.integers(0, 50),
)
def test_every_cut_between_shots_is_found_and_no_other(lengths, speed, noise, first_scene):
    pictures = [p for i, frames in enumerate(lengths) for p in shot(first_scene + i, frames, speed, noise)]
    assert cuts(pictures) == [sum(lengths[:i]) for i in range(len(lengths))]


@settings(max_examples=20)
@given(speed=st.integers(0, 5), number=st.integers(0, 100))
def test_a_pan_is_one_shot_at_any_speed(speed, number):
    assert cuts(shot(number, 30, speed)) == [0]


def test_a_pan_that_moves_every_other_frame_is_soon_taken_for_motion():
    moving = [picture for picture in shot(0, 30, speed=2) for _ in range(2)]
    assert max(cuts(shot(0, 4) + moving)) < 12


def test_a_flash_is_no_cut():
    pictures = shot(3, 20)
    pictures[9] = np.full_like(pictures[9], 255)
    assert cuts(pictures) == [0]


def test_a_cut_through_one_white_frame_is_found_once():
    pictures = [*shot(3, 10), np.full((HEIGHT, WIDTH, 3), 255, np.uint8), *shot(4, 10)]
    assert len(cuts(pictures)) == 2


def test_a_slow_dissolve_is_no_cut():
    before, after = shot(5, 1)[0].astype(float), shot(6, 1)[0].astype(float)
    dissolve = [(before * (1 - t) + after * t).astype(np.uint8) for t in np.linspace(0, 1, 50)]
    assert cuts(dissolve) == [0]


def test_pictures_come_through_in_order_and_unchanged():
    pictures = shot(1, 3, 1) + shot(2, 3, 1)
    assert all(given is taken for given, (taken, _) in zip(pictures, mark_cuts(pictures), strict=True))


def test_no_pictures_no_shots():
    assert cuts([]) == []
