"""Stage composite: the mouth is the generated one, everything else the source's own, bit by bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.media.picture import Picture, rgb_to_planes, working_subsampling
from model.plan import Box, ColorTags, Geometry
from model.stages.composite import composite, crossfade

LIMITED_709 = ColorTags(range=1, primaries=1, transfer=1, matrix=1)
FULL_601 = ColorTags(range=2, primaries=1, transfer=1, matrix=6)
MOUTH_TOP, MOUTH_BOTTOM, MOUTH_LEFT, MOUTH_RIGHT = 224 / 512, 480 / 512, 40 / 512, 472 / 512


def noise_picture(width: int, height: int, color: ColorTags = LIMITED_709, seed: int = 0) -> Picture:
    random = np.random.default_rng(seed)
    step = working_subsampling(width, height)
    chroma = (-(-height // step), -(-width // step))
    y, u, v = (random.integers(0, 256, shape, np.uint8) for shape in ((height, width), chroma, chroma))
    return Picture(y, u, v, color)


def noise_crop(size: int = 64, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def planes(picture: Picture) -> list[tuple[np.ndarray, int]]:
    return [(picture.y, 1), (picture.u, picture.subsampling), (picture.v, picture.subsampling)]


def inside(shape: tuple[int, int], step: int, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Which samples of a plane have their centre inside a rectangle given in luma px."""
    y = (np.arange(shape[0]) + 0.5) * step
    x = (np.arange(shape[1]) + 0.5) * step
    return ((y > top) & (y < bottom))[:, None] & ((x > left) & (x < right))


def mouth_of(box: Box) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    return x0 + MOUTH_LEFT * w, y0 + MOUTH_TOP * h, x0 + MOUTH_RIGHT * w, y0 + MOUTH_BOTTOM * h


@st.composite
def frame_and_box(draw) -> tuple[int, int, Box]:
    width, height = draw(st.integers(20, 130)), draw(st.integers(20, 130))
    x0, y0 = draw(st.integers(0, width - 16)), draw(st.integers(0, height - 16))
    return width, height, (x0, y0, draw(st.integers(x0 + 16, width)), draw(st.integers(y0 + 16, height)))


@settings(max_examples=200)
@given(place=frame_and_box(), color=st.sampled_from([LIMITED_709, FULL_601]), seed=st.integers(0, 100))
def test_every_sample_outside_the_mouth_is_the_sources_own(place, color, seed):
    width, height, box = place
    picture = noise_picture(width, height, color, seed)
    result = composite(picture, noise_crop(seed=seed), box, Geometry.TRACKED)
    for (before, step), (after, _) in zip(planes(picture), planes(result), strict=True):
        outside = ~inside(before.shape, step, *mouth_of(box))
        assert (after[outside] == before[outside]).all()


@settings(max_examples=100)
@given(place=frame_and_box(), seed=st.integers(0, 100))
def test_the_published_paste_changes_nothing_outside_its_box(place, seed):
    width, height, box = place
    picture = noise_picture(width, height, seed=seed)
    result = composite(picture, noise_crop(seed=seed), box, Geometry.PUBLISHED)
    for (before, step), (after, _) in zip(planes(picture), planes(result), strict=True):
        outside = ~inside(before.shape, step, *box)
        assert (after[outside] == before[outside]).all()


@pytest.mark.parametrize("geometry", Geometry)
def test_the_picture_that_was_given_is_not_changed(geometry):
    picture = noise_picture(128, 96)
    copy = picture.writable()
    composite(picture, noise_crop(), (20, 10, 100, 90), geometry)
    for (now, _), (then, _) in zip(planes(picture), planes(copy), strict=True):
        assert (now == then).all()


@pytest.mark.parametrize("geometry", Geometry)
def test_an_empty_box_changes_nothing(geometry):
    picture = noise_picture(128, 96)
    assert composite(picture, noise_crop(), (0, 0, 0, 0), geometry) is picture


@pytest.mark.parametrize("color", [LIMITED_709, FULL_601])
@pytest.mark.parametrize("size", [(256, 256), (255, 257)])
@pytest.mark.parametrize("geometry", Geometry)
def test_the_middle_of_the_mouth_has_the_generated_colour(geometry, size, color):
    width, height = size
    generated = np.full((64, 64, 3), (200, 90, 60), np.uint8)
    result = composite(noise_picture(width, height, color), generated, (21, 13, 221, 233), geometry)
    wanted = rgb_to_planes(generated[:2, :2], color, 1)
    for (plane, step), (expected, _) in zip(planes(result), planes(wanted), strict=True):
        middle = plane[(13 + 140) // step : (13 + 170) // step, (21 + 80) // step : (21 + 120) // step]
        assert np.abs(middle.astype(int) - int(expected[0, 0])).max() <= 1


def test_a_crop_that_equals_its_frame_leaves_the_frame_as_it_was():
    flat = rgb_to_planes(np.full((128, 128, 3), (180, 140, 120), np.uint8), LIMITED_709, 2)
    result = composite(flat, np.full((512, 512, 3), (180, 140, 120), np.uint8), (15, 11, 100, 120), Geometry.TRACKED)
    for (before, _), (after, _) in zip(planes(flat), planes(result), strict=True):
        assert np.abs(before.astype(int) - after).max() <= 1


def test_the_mouth_fades_in_from_the_border_without_a_step():
    black = rgb_to_planes(np.zeros((512, 512, 3), np.uint8), LIMITED_709, 2)
    luma = composite(black, np.full((512, 512, 3), 255, np.uint8), (0, 0, 512, 512), Geometry.TRACKED).y.astype(int)
    across, down = luma[352], luma[:, 256]
    assert across.max() == down.max() == 235
    assert np.abs(np.diff(across)).max() <= 219 * 1.5 / 32 + 1
    assert np.abs(np.diff(down)).max() <= 219 * 1.5 / 32 + 1
    assert (np.diff(across[:256]) >= 0).all()
    assert (across[72:440] == 235).all()


def test_details_land_where_they_were_cropped():
    """A dot generated at a place of the crop appears at that place of the box, at any scale."""
    generated = np.zeros((512, 512, 3), np.uint8)
    generated[336:368, 240:272] = 255
    black = rgb_to_planes(np.zeros((720, 1280, 3), np.uint8), LIMITED_709, 2)
    for box in [(301, 77, 557, 333), (301, 77, 1101, 717), (301, 77, 401, 201)]:
        x0, y0, x1, y1 = box
        lit = composite(black, generated, box, Geometry.TRACKED).y.astype(float) - 16
        y, x = np.mgrid[0:720, 0:1280] + 0.5
        assert (lit * x).sum() / lit.sum() == pytest.approx(x0 + (x1 - x0) * 0.5, abs=0.5)
        assert (lit * y).sum() / lit.sum() == pytest.approx(y0 + (y1 - y0) * 352 / 512, abs=0.5)


@given(overlap=st.integers(1, 12), seed=st.integers(0, 20))
def test_a_crossfade_goes_from_one_render_to_the_other(overlap, seed):
    before, after = noise_crop(8, seed), noise_crop(8, seed + 1)
    mixes = [crossfade(before, after, position, overlap).astype(int) for position in range(overlap)]
    steps = np.diff([before.astype(int), *mixes, after.astype(int)], axis=0)
    assert (steps * np.sign(after.astype(int) - before) >= 0).all(), "no pixel turns back"
    assert np.ptp(np.abs(steps), axis=0).max() <= 1, "all steps are equal but for rounding"


def test_a_crossfade_of_equal_renders_is_that_render():
    render = noise_crop(8)
    assert all((crossfade(render, render, position, 6) == render).all() for position in range(6))
