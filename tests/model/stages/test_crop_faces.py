"""Stage crop_faces: what the networks see. That crops equal the published ones: tests/model/faces/test_published.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.stages.crop_faces import crop_faces


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@given(x0=st.integers(0, 40), y0=st.integers(0, 30), size=st.integers(16, 32))
def test_a_box_of_the_crops_size_is_copied(x0, y0, size):
    frame = noise(64, 80)
    (crop,) = crop_faces([frame], [(x0, y0, x0 + size, y0 + size)], size)
    assert (crop == frame[y0 : y0 + size, x0 : x0 + size]).all()


def test_each_frame_has_its_own_box_and_the_order_is_kept():
    frames = [noise(64, 80, seed) for seed in range(3)]
    boxes = [(0, 0, 32, 32), (10, 5, 42, 37), (48, 32, 80, 64)]
    crops = crop_faces(iter(frames), boxes, 32)
    assert crops.shape == (3, 32, 32, 3)
    assert crops.dtype == np.uint8
    for crop, frame, (x0, y0, x1, y1) in zip(crops, frames, boxes, strict=True):
        assert (crop == frame[y0:y1, x0:x1]).all()


def test_a_box_is_stretched_to_a_square():
    frame = np.zeros((64, 80, 3), np.uint8)
    frame[:, 40:] = 200
    (crop,) = crop_faces([frame], [(20, 0, 60, 64)], 128)
    assert (crop[:, :60] == 0).all()
    assert (crop[:, 68:] == 200).all()


def test_an_empty_box_takes_the_whole_frame():
    frame = noise(32, 32)
    assert (crop_faces([frame], [(0, 0, 0, 0)], 32)[0] == frame).all()


@pytest.mark.parametrize("frames", [0, 2])
def test_frames_and_boxes_must_pair_up(frames):
    with pytest.raises(ValueError, match="argument"):
        crop_faces([noise(32, 32)] * frames, [(0, 0, 16, 16)], 16)
