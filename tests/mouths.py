"""Where a dub may have changed a picture, told from the face box alone."""

import numpy as np
from numpy.typing import NDArray

from model.media.picture import Picture
from model.networks.mouth_mask import mouth_region
from model.plan import Box

CROP = 512
"""Side of the crop that is laid over a face box, px."""


def planes(picture: Picture) -> dict[str, NDArray[np.uint8]]:
    """The planes of a picture by name."""
    return {"y": picture.y, "u": picture.u, "v": picture.v}


def untouched(picture: Picture, box: Box) -> dict[str, NDArray[np.bool_]]:
    """For each plane, which samples are centred outside the mouth region of the box."""
    x0, y0, x1, y1 = box
    mouth = mouth_region(CROP)
    masks = {}
    for name, plane in planes(picture).items():
        step = 1 if name == "y" else picture.subsampling
        rows, columns = ((np.arange(length) + 0.5) * step for length in plane.shape)
        masks[name] = ~np.outer(_between(rows, mouth.rows, y0, y1), _between(columns, mouth.columns, x0, x1))
    return masks


def _between(centres: NDArray[np.float64], cells: slice, start: int, stop: int) -> NDArray[np.bool_]:
    """Which centres lie within one side of the region, which is laid over [start, stop) of the box."""
    scale = (stop - start) / CROP
    return (centres > start + cells.start * scale) & (centres < start + cells.stop * scale)
