import math
from itertools import product

import cv2
import numpy as np
import pytest

from model.evaluation.agreement import correlation
from model.evaluation.pictures import (
    eye_height,
    flicker,
    generated_rectangle,
    inside_mse,
    outside_mse,
    psnr,
    seam_energy,
    ssim,
    whole_pictures,
)
from model.networks.mouth_mask import mouth_region
from model.training.shards import Split
from model.training.synthetic.clips import ClipOptions, make_clip
from model.training.synthetic.filming import Boxes

RNG = np.random.default_rng(5)
SOURCE = RNG.integers(40, 200, (4, 64, 64, 3)).astype(np.uint8)
WHOLE = whole_pictures(SOURCE)
RECTANGLE = generated_rectangle((0, 0, 64, 64), 64, 64)


def test_of_a_crop_the_rectangle_is_the_models() -> None:
    region = mouth_region(64)
    assert (region.rows, region.columns) == RECTANGLE


def test_in_a_larger_picture_the_rectangle_lies_in_its_box() -> None:
    assert generated_rectangle((100, 200, 612, 712), 1000, 1000) == (slice(424, 680), slice(140, 572))
    assert generated_rectangle((100, 200, 612, 712), 500, 300) == (slice(424, 500), slice(140, 300))
    rows, columns = generated_rectangle((0, 0, 0, 0), 64, 64)
    assert (rows.start, columns.start) == (rows.stop, columns.stop)


def test_what_happens_inside_does_not_count_outside() -> None:
    result = SOURCE.copy()
    result[:, *RECTANGLE] = 0
    assert outside_mse(result, SOURCE, WHOLE) == 0.0
    assert psnr(0.0) == math.inf


def test_an_offset_outside_has_the_psnr_of_its_square() -> None:
    result = SOURCE + np.uint8(5)
    result[:, *RECTANGLE] = 0
    assert outside_mse(result, SOURCE, WHOLE) == pytest.approx(25.0)
    assert psnr(25.0) == pytest.approx(10.0 * math.log10(255**2 / 25))


def test_only_the_mouth_counts_where_the_mouth_is_compared() -> None:
    result = SOURCE + np.uint8(5)
    assert inside_mse(result, SOURCE, WHOLE) == pytest.approx(25.0)
    result[:, *RECTANGLE] = SOURCE[:, *RECTANGLE]
    assert inside_mse(result, SOURCE, WHOLE) == 0.0
    assert ssim(result, SOURCE, WHOLE) == pytest.approx(1.0)


def test_the_ssim_of_even_pictures_is_that_of_their_levels() -> None:
    dark, bright = np.full_like(SOURCE, 100), np.full_like(SOURCE, 150)
    luminance = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + luminance) / (100**2 + 150**2 + luminance)
    assert ssim(bright, dark, WHOLE) == pytest.approx(expected, abs=1e-4)


def test_without_a_face_everything_is_outside() -> None:
    no_boxes = np.zeros((4, 4), np.int64)
    assert outside_mse(SOURCE + np.uint8(5), SOURCE, no_boxes) == pytest.approx(25.0)
    assert seam_energy(SOURCE, SOURCE, no_boxes) is None
    assert flicker(SOURCE, no_boxes) is None
    assert inside_mse(SOURCE, SOURCE, no_boxes) is None
    assert ssim(SOURCE, SOURCE, no_boxes) is None


def test_the_seam_is_as_strong_as_the_step_across_it() -> None:
    grey = np.full_like(SOURCE, 100)
    brighter = grey.copy()
    brighter[:, *RECTANGLE] += 10
    assert seam_energy(brighter, grey, WHOLE) == pytest.approx(10.0)
    assert seam_energy(SOURCE, SOURCE, WHOLE) == 0.0


def test_flicker_is_what_comes_and_goes_and_not_what_moves_steadily() -> None:
    steady = np.stack([np.full((64, 64, 3), 50 + 7 * at) for at in range(6)]).astype(np.uint8)
    blinking = np.stack([np.full((64, 64, 3), 50 + 8 * (at % 2)) for at in range(6)]).astype(np.uint8)
    assert flicker(steady, whole_pictures(steady)) == 0.0
    assert flicker(blinking, whole_pictures(blinking)) == pytest.approx(8.0)
    assert flicker(steady[:2], whole_pictures(steady[:2])) is None


def test_eyes_that_go_up_are_followed() -> None:
    picture = cv2.GaussianBlur(np.random.default_rng(2).uniform(0, 255, (200, 200)), (0, 0), 3.0)
    picture = 255 * (picture - picture.min()) / np.ptp(picture)
    shifts = [0, 1, 2, 4, 2, -1]
    crops = np.stack([np.roll(picture, -shift, axis=0) for shift in shifts]).astype(np.uint8)
    crops = np.repeat(crops[..., None], 3, axis=3)
    np.testing.assert_allclose(200 * eye_height(crops), shifts, atol=0.25)


def test_boxes_that_grow_with_the_mouth_betray_it_more_than_fixed_ones() -> None:
    told: dict[Boxes, list[float]] = {boxes: [] for boxes in Boxes}
    for boxes, index in product(Boxes, (1, 2)):
        clip = make_clip(7, index, Split.HELDOUT, ClipOptions(frames=60, size=128, boxes=boxes))
        agreement = correlation(eye_height(clip.frames), clip.aperture.astype(float))
        assert agreement is not None
        told[boxes].append(agreement)
    more = np.subtract(told[Boxes.PER_FRAME], told[Boxes.FIXED])
    assert more.min() > 0.1, told
