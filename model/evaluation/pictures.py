"""What a dub did to the pictures: around the mouth, at the edge of what was made, and from frame to frame."""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.networks.mouth_mask import mouth_region

Image = NDArray[np.uint8]
Boxes = NDArray[np.integer[Any]]
Curve = NDArray[np.float64]

_GRID = 512
"""Side of the crop on which the generated rectangle is defined, px."""

_SSIM_WINDOW = 11
"""Side of the window of SSIM, px."""

_EYES_ROWS, _EYES_COLUMNS = (0.27, 0.42), (0.17, 0.83)
"""Where eyes and brows are, parts of a crop."""

_EYES_REACH = 0.06
"""How far from there they are looked for."""


def whole_pictures(frames: Image) -> Boxes:
    """The boxes (F, 4) of pictures that are crops already."""
    count, height, width = frames.shape[:3]
    return np.tile(np.array([0, 0, width, height]), (count, 1))


def generated_rectangle(box: tuple[int, int, int, int], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the px a dub may have touched: the mouth rectangle of `model.networks.mouth_mask`, laid over
    a box (x0, y0, x1, y1), px of a picture of this size; empty for an empty box."""
    x0, y0, x1, y1 = box
    region = mouth_region(_GRID)
    return (
        _span(y0, y1, region.rows.start, region.rows.stop, height),
        _span(x0, x1, region.columns.start, region.columns.stop, width),
    )


def outside_mse(result: Image, source: Image, boxes: Boxes) -> float:
    """Mean squared difference of the px outside the generated rectangle, levels squared.

    result, source: (F, H, W, 3) uint8. boxes: (F, 4).
    """
    total, count = 0.0, 0
    for made, was, box in zip(result, source, boxes.tolist(), strict=True):
        squares = np.square(made.astype(np.float32) - was)
        inside = generated_rectangle(tuple(box), *made.shape[:2])
        count += squares.size - squares[inside].size
        squares[inside] = 0.0
        total += float(squares.sum(dtype=np.float64))
    return total / count


def inside_mse(result: Image, reference: Image, boxes: Boxes) -> float | None:
    """Mean squared difference of the px within the generated rectangle, levels squared; arguments as `outside_mse`.

    None when no frame has a rectangle.
    """
    pairs = _rectangles(result, reference, boxes)
    if not pairs:
        return None
    total = sum(float(np.square(made - other).sum(dtype=np.float64)) for made, other in pairs)
    return total / sum(made.size for made, _ in pairs)


def ssim(result: Image, reference: Image, boxes: Boxes) -> float | None:
    """Structural similarity of the generated rectangles, mean over frames, [-1, 1]; arguments as `outside_mse`.

    With the Gaussian window of Wang et al. (2004), over the three channels. None when no rectangle holds the window.
    """
    from skimage.metrics import structural_similarity

    pairs = [pair for pair in _rectangles(result, reference, boxes) if min(pair[0].shape[:2]) >= _SSIM_WINDOW]
    values = [
        structural_similarity(  # type: ignore[no-untyped-call]
            made, other, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255.0, channel_axis=2
        )
        for made, other in pairs
    ]
    return float(np.mean(values)) if values else None


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio of 8 bit pictures, dB; infinite for identical ones."""
    return math.inf if mse == 0.0 else 10.0 * math.log10(255.0**2 / mse)


def seam_energy(result: Image, source: Image, boxes: Boxes) -> float | None:
    """How much stronger the steps across the edge of the generated rectangle are than they were, levels.

    The mean absolute difference of neighbouring px on both sides of the edge, in the result minus in the source. 0 for
    the source itself. result, source: (F, H, W, 3) uint8. boxes: (F, 4). None when no frame has an edge.
    """
    steps = []
    for made, was, box in zip(result, source, boxes.tolist(), strict=True):
        rows, columns = generated_rectangle(tuple(box), *made.shape[:2])
        new, old = _steps_across(made, rows, columns), _steps_across(was, rows, columns)
        if new.size:
            steps.append(float(np.abs(new).mean() - np.abs(old).mean()))
    return float(np.mean(steps)) if steps else None


def flicker(frames: Image, boxes: Boxes) -> float | None:
    """How far px of the generated rectangle are from the mean of the frames before and after, levels.

    What moves steadily does not count, and what comes and goes with single frames does. frames: (F, H, W, 3) uint8.
    boxes: (F, 4). None with fewer than three frames, or where there is no rectangle.
    """
    departures = []
    for at in range(1, len(frames) - 1):
        rows, columns = generated_rectangle(tuple(boxes[at].tolist()), *frames.shape[1:3])
        before, now, after = (frames[index, rows, columns].astype(np.float32) for index in (at - 1, at, at + 1))
        if now.size:
            departures.append(float(np.abs(now - 0.5 * (before + after)).mean()))
    return float(np.mean(departures)) if departures else None


def eye_height(crops: Image) -> Curve:
    """How far eyes and brows are above where they are in the first frame, in heights of the crop, (F,).

    crops: (F, S, S, 3) uint8 RGB. The band with the eyes of the first frame is found again in the others by normalised
    correlation. It tells how much the crop betrays of the mouth (the first leak of arXiv 2605.16918): in boxes that
    grow with an opening mouth, eyes go up.
    """
    size = crops.shape[1]
    reach = round(_EYES_REACH * size)
    (top, bottom), (left, right) = (tuple(round(part * size) for part in ends) for ends in (_EYES_ROWS, _EYES_COLUMNS))
    grey = crops[:, top - reach : bottom + reach, left - reach : right + reach].astype(np.float32).mean(axis=3)
    eyes = grey[0, reach:-reach, reach:-reach]
    rows = [_best_row(cv2.matchTemplate(band, eyes, cv2.TM_CCOEFF_NORMED)) for band in grey]
    return np.asarray((reach - np.array(rows)) / size, np.float64)


def _rectangles(result: Image, reference: Image, boxes: Boxes) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The generated rectangles (h, w, 3) of both, of frames that have one."""
    cut = []
    for made, other, box in zip(result, reference, boxes.tolist(), strict=True):
        inside = generated_rectangle(tuple(box), *made.shape[:2])
        if made[inside].size:
            cut.append((made[inside].astype(np.float32), other[inside].astype(np.float32)))
    return cut


def _best_row(likeness: NDArray[np.float32]) -> float:
    """The row of the maximum, to parts of a px: the vertex of a parabola through it and its neighbours."""
    row, column = (int(index) for index in np.unravel_index(np.argmax(likeness), likeness.shape))
    if not 0 < row < len(likeness) - 1:
        return float(row)
    before, at, after = likeness[row - 1 : row + 2, column].tolist()
    bend = before - 2.0 * at + after
    return float(row if bend == 0.0 else row + 0.5 * (before - after) / bend)


def _span(start: int, stop: int, first: int, last: int, limit: int) -> slice:
    """Whole px that cells [first, last) of the grid reach into, when it is laid over [start, stop)."""
    scale = (stop - start) / _GRID
    low = min(max(math.floor(start + first * scale), 0), limit)
    return slice(low, min(max(math.ceil(start + last * scale), low), limit))


def _steps_across(picture: Image, rows: slice, columns: slice) -> NDArray[np.float32]:
    """The differences (n, 3) of px outside and inside the four sides of a rectangle, where the picture has both."""
    height, width = picture.shape[:2]
    if rows.start == rows.stop or columns.start == columns.stop:
        return np.empty((0, 3), np.float32)
    sides = []
    if rows.start > 0:
        sides.append((picture[rows.start - 1, columns], picture[rows.start, columns]))
    if rows.stop < height:
        sides.append((picture[rows.stop, columns], picture[rows.stop - 1, columns]))
    if columns.start > 0:
        sides.append((picture[rows, columns.start - 1], picture[rows, columns.start]))
    if columns.stop < width:
        sides.append((picture[rows, columns.stop], picture[rows, columns.stop - 1]))
    pairs = [outer.astype(np.float32) - inner for outer, inner in sides]
    return np.concatenate(pairs) if pairs else np.empty((0, 3), np.float32)
