"""Stage: put a generated crop back into its frame; every other sample stays the source's own."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.faces.detector import Image
from model.faces.published import paste
from model.media.picture import Picture, Plane, rgb_to_planes
from model.networks.mouth_mask import mouth_region
from model.plan import Box, Geometry

_GRID = 512
"""The crop's own grid, px, on which the generated region is defined."""

_FEATHER = 32
"""Width of the feather inside each border of the generated region, px of the crop's grid."""


@dataclass(frozen=True, slots=True)
class _Span:
    """An interval of one axis of a picture, px, that fades in over `feather` px inside both of its ends."""

    start: float
    stop: float
    feather: float = 0.0

    def window(self, subsampling: int) -> slice:
        """The luma samples it touches, extended to whole blocks of chroma."""
        first, last = int(self.start), int(np.ceil(self.stop))
        return slice(first - first % subsampling, last + last % subsampling)

    def weights(self, step: int, window: slice) -> NDArray[np.float32]:
        """How much each sample under a window counts: 0 when its centre is at an end or outside, up to 1 inside.

        step: luma samples per sample of the plane.
        """
        centres = (np.arange(window.start // step, window.stop // step) + 0.5) * step
        depth = np.minimum(centres - self.start, self.stop - centres)
        if self.feather == 0.0:
            return (depth > 0.0).astype(np.float32)
        ramp = np.clip(depth / self.feather, 0.0, 1.0)
        return (ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)


def composite(picture: Picture, generated_rgb: Image, box: Box, geometry: Geometry) -> Picture:
    """Return a picture with the generated crop (S, S, 3) uint8 RGB in its box; the given picture is not changed.

    tracked: only the generated region, the mouth's rectangle, is taken from the crop. It fades in from its border
    inwards: every sample centred at or outside the border is the picture's own, bit by bit. published: the whole box is
    pasted as the published program does; samples centred outside the box are the picture's own. An empty box changes
    nothing.
    """
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        return picture
    if geometry is Geometry.PUBLISHED:
        across, down = _Span(x0, x1), _Span(y0, y1)
        fitted = paste(_region_rgb(picture, box), generated_rgb)
    else:
        mouth = mouth_region(_GRID)
        across, down = _mouth_span(mouth.columns, x0, x1), _mouth_span(mouth.rows, y0, y1)
        fitted = _fit(generated_rgb, x1 - x0, y1 - y0)
    return _blend(picture, fitted, box, across, down)


def crossfade(before: Image, after: Image, position: int, overlap: int) -> Image:
    """Mix two renders of one frame where segments overlap. position: 0 to overlap - 1, from `before` to `after`."""
    share = np.float32((position + 1) / (overlap + 1))
    return np.rint(before * (1 - share) + after * share).astype(np.uint8)


def _mouth_span(cells: slice, box_start: int, box_stop: int) -> _Span:
    """One side of the generated region, laid over a side of the box."""
    scale = (box_stop - box_start) / _GRID
    return _Span(box_start + cells.start * scale, box_start + cells.stop * scale, _FEATHER * scale)


def _fit(generated_rgb: Image, width: int, height: int) -> Image:
    """Resize a crop to its box: cubic when it grows, area means when it shrinks."""
    grows = width * height > generated_rgb.shape[0] * generated_rgb.shape[1]
    interpolation = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(generated_rgb, (width, height), interpolation=interpolation), np.uint8)


def _region_rgb(picture: Picture, box: Box) -> Image:
    """A region of a picture as RGB (h, w, 3), converted together with the rest of the chroma blocks it cuts."""
    x0, y0, x1, y1 = box
    rows, columns = _Span(y0, y1).window(picture.subsampling), _Span(x0, x1).window(picture.subsampling)
    y, u, v = (plane[_under(rows, step), _under(columns, step)] for plane, step in _planes(picture))
    rgb = Picture(y, u, v, picture.color).to_rgb()
    return rgb[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start]


def _blend(picture: Picture, fitted_rgb: Image, box: Box, across: _Span, down: _Span) -> Picture:
    """Mix an RGB image of a box into a copy of the picture where `across` and `down` say so."""
    x0, y0, x1, y1 = box
    rows, columns = down.window(picture.subsampling), across.window(picture.subsampling)
    # A block of chroma on the border may reach out of the box: the last px inside is repeated there.
    y = np.clip(np.arange(rows.start, rows.stop), y0, y1 - 1) - y0
    x = np.clip(np.arange(columns.start, columns.stop), x0, x1 - 1) - x0
    generated = rgb_to_planes(fitted_rgb[np.ix_(y, x)], picture.color, picture.subsampling)

    result = picture.writable()
    for (plane, step), (samples, _) in zip(_planes(result), _planes(generated), strict=True):
        weights = down.weights(step, rows)[:, None] * across.weights(step, columns)
        region = plane[_under(rows, step), _under(columns, step)]
        region[...] = np.rint(region + weights * (samples.astype(np.float32) - region))
    return result


def _planes(picture: Picture) -> tuple[tuple[Plane, int], ...]:
    """The planes, each with the luma samples per sample of it."""
    return (picture.y, 1), (picture.u, picture.subsampling), (picture.v, picture.subsampling)


def _under(window: slice, step: int) -> slice:
    """The samples of a plane under a window of luma samples."""
    return slice(window.start // step, window.stop // step)
