"""The generated rectangle, on any grid over the crop."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.networks import mouth_mask, mouth_region

PUBLISHED = {
    512: ((224, 480), (40, 472)),
    64: ((28, 60), (5, 59)),
    32: ((14, 30), (3, 29)),
    16: ((7, 15), (2, 14)),
    8: ((4, 7), (1, 7)),
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_rectangle_is_the_published_one(size: int) -> None:
    (top, bottom), (left, right) = PUBLISHED[size]

    region = mouth_region(size)

    assert (region.rows, region.columns) == (slice(top, bottom), slice(left, right))


@given(size=st.integers(min_value=1, max_value=600))
def test_a_cell_is_generated_exactly_when_it_lies_entirely_inside(size: int) -> None:
    edges = torch.arange(size + 1, dtype=torch.float64) * 512 / size
    rows = (edges[:-1] >= 224) & (edges[1:] <= 480)
    columns = (edges[:-1] >= 40) & (edges[1:] <= 472)

    assert torch.equal(mouth_mask(size), (rows[:, None] & columns[None, :]).float())
