"""Planes to RGB and back."""

import cv2
import numpy as np
import pytest

from model.media.picture import Picture, picture_to_frame, plane_samples, resolve_color, rgb_to_planes
from model.plan import ColorTags
from tests.media_factory import BT709

RANGES = [1, 2]
MATRICES = [1, 4, 5, 6, 7, 9]


def smooth_plane(seed: int, width: int, height: int, low: int, high: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(low, high, (5, 7), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def moderate_picture(color: ColorTags, subsampling: int) -> Picture:
    """A picture whose colours all lie inside RGB, so that nothing clips."""
    width, height = 96, 64
    chroma = (width // subsampling, height // subsampling)
    return Picture(
        smooth_plane(1, width, height, 80, 170),
        smooth_plane(2, *chroma, 112, 140),
        smooth_plane(3, *chroma, 112, 140),
        color,
    )


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("subsampling", [1, 2])
@pytest.mark.parametrize("color_range", RANGES)
@pytest.mark.parametrize("matrix", MATRICES)
def test_planes_return_from_rgb_unchanged(matrix: int, color_range: int, subsampling: int) -> None:
    picture = moderate_picture(ColorTags(color_range, 1, 1, matrix), subsampling)

    back = rgb_to_planes(picture.to_rgb(), picture.color, subsampling)

    assert largest_difference(back.y, picture.y) <= 1
    assert largest_difference(back.u, picture.u) <= 1
    assert largest_difference(back.v, picture.v) <= 1


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [((255, 255, 255), (235, 128, 128)), ((0, 0, 0), (16, 128, 128)), ((255, 0, 0), (63, 102, 240))],
)
def test_bt709_primaries_have_the_published_codes(rgb: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    region = np.full((4, 4, 3), rgb, np.uint8)

    planes = rgb_to_planes(region, BT709, 2)

    assert (planes.y[0, 0], planes.u[0, 0], planes.v[0, 0]) == expected


def test_the_matrix_of_the_tags_decides_the_codes() -> None:
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)

    assert rgb_to_planes(red, ColorTags(1, 1, 1, 1), 2).y[0, 0] != rgb_to_planes(red, ColorTags(1, 1, 1, 6), 2).y[0, 0]


def test_an_odd_region_gets_a_chroma_sample_for_every_begun_block() -> None:
    region = np.zeros((5, 7, 3), np.uint8)

    planes = rgb_to_planes(region, BT709, 2)

    assert planes.y.shape == (5, 7)
    assert planes.u.shape == planes.v.shape == (3, 4)


def test_a_frame_for_the_encoder_holds_the_same_samples_and_tags() -> None:
    picture = moderate_picture(ColorTags(2, 9, 16, 9), 2)

    frame = picture_to_frame(picture)

    assert np.array_equal(plane_samples(frame.planes[0]), picture.y)
    assert np.array_equal(plane_samples(frame.planes[1]), picture.u)
    assert (frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace) == (2, 9, 16, 9)


def test_a_writable_copy_leaves_the_original_alone() -> None:
    picture = moderate_picture(BT709, 2)
    before = picture.y.copy()

    picture.writable().y[:] = 0

    assert np.array_equal(picture.y, before)


@pytest.mark.parametrize(("size", "matrix"), [((1920, 1080), 1), ((1080, 1920), 1), ((1280, 720), 1), ((720, 576), 6)])
def test_an_untagged_matrix_is_settled_by_size(size: tuple[int, int], matrix: int) -> None:
    untagged = ColorTags(range=0, primaries=2, transfer=2, matrix=2)

    assert resolve_color(untagged, *size, rgb=False) == ColorTags(range=1, primaries=2, transfer=2, matrix=matrix)


def test_rgb_sources_become_limited_range_yuv() -> None:
    assert resolve_color(ColorTags(2, 1, 13, 0), 1920, 1080, rgb=True) == ColorTags(1, 1, 13, 1)
