"""Which part of the crop is generated: a fixed rectangle around the mouth."""

from dataclasses import dataclass

import torch
from torch import Tensor

_CROP = 512
_TOP, _BOTTOM, _LEFT, _RIGHT = 224, 480, 40, 472


@dataclass(frozen=True, slots=True)
class MouthRegion:
    """Rows and columns of the generated cells of a square grid."""

    rows: slice
    columns: slice


def mouth_region(size: int) -> MouthRegion:
    """The generated rectangle of a `size` x `size` grid laid over the crop.

    The rectangle is y in [224, 480), x in [40, 472) of the 512 px crop; a cell belongs to it when it lies entirely
    inside (docs/model.md), for the pixels of any crop size as well as for latents and their halvings.
    """

    def first(edge: int) -> int:
        return -(-edge * size // _CROP)

    return MouthRegion(
        rows=slice(first(_TOP), _BOTTOM * size // _CROP), columns=slice(first(_LEFT), _RIGHT * size // _CROP)
    )


def mouth_mask(size: int) -> Tensor:
    """Mask of a `size` x `size` grid over the crop. Returns (size, size) float32, 1 = generate, 0 = keep."""
    mask = torch.zeros(size, size)
    region = mouth_region(size)
    mask[region.rows, region.columns] = 1.0
    return mask
