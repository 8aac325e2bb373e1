"""How far a mouth is open, seen in pictures.

Made for the synthetic faces of `model.training.synthetic`, whose lips are redder than what lies between them. It is
held to their ground truth by tests; nothing is promised for photographs.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
Image = NDArray[np.uint8]
Places = NDArray[np.floating[Any]]

CLOSED_BELOW = 0.008
"""A mouth that reads less is closed, heights of the face. Half way between drawn mouths that are closed (less than
0.002 in truth), of which 99 in 100 read less than 0.002, and open ones (0.015 and more), of which 99 in 100 read over
0.014."""

_STEP = 0.004
_ABOVE, _BELOW, _BESIDE = 0.09, 0.15, 0.05
"""What is looked at around the place where closed lips meet, and how finely, heights of the face."""

_LIPS_ABOVE, _LIPS_BELOW = 0.03, 0.05
"""Where most of what is seen in a clip is lips."""

_LIP_REDNESS_PERCENTILE = 75.0
_SURELY_NOT_RED, _HARDLY_RED = 0.3, 0.6
_SURELY_DARK, _HARDLY_DARK = 0.25, 0.45
"""Redness and light of teeth and of the cave behind them, in parts of what the lips of the clip have."""

_LEAST_REDNESS = 0.02
"""(R - G) / (R + G) below which nothing is a lip; drawn lips have more than 0.25."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def mouth_opening(frames: Image, mouth: Places) -> Curve:
    """How much of a vertical strip through the mouth shows what lies between lips: teeth, or the dark behind them.

    frames: (F, H, W, 3) uint8 RGB. mouth: (F, 3), where the lips meet when closed, x and y, and the height of the
    resting face, px of the picture. Returns (F,), in heights of the face; NaN where no lips are seen. A tongue is not
    told from a lip, so an open mouth reads about 0.6 of its opening. What lips look like is taken from all frames
    together; the measure is ours.
    """
    strips = _strips(frames, mouth)
    light = strips @ _LUMA
    red, green = strips[..., 0], strips[..., 1]
    redness = (red - green) / np.maximum(red + green, 1.0)
    rows = _rows()
    near = (rows > -_LIPS_ABOVE) & (rows < _LIPS_BELOW)
    lip_redness = float(np.percentile(redness[:, near], _LIP_REDNESS_PERCENTILE))
    if lip_redness < _LEAST_REDNESS:
        return np.full(len(frames), np.nan)
    lip_light = float(np.median(light[:, near][redness[:, near] >= 0.75 * lip_redness]))
    pale = _fades(redness / lip_redness, _SURELY_NOT_RED, _HARDLY_RED)
    dark = _fades(light / max(lip_light, 1.0), _SURELY_DARK, _HARDLY_DARK)
    inside = np.maximum(pale, dark)
    lips = (inside < 0.5) & (redness > _HARDLY_RED * lip_redness)
    between = np.logical_or.accumulate(lips, axis=1) & np.logical_or.accumulate(lips[:, ::-1], axis=1)[:, ::-1]
    opening = (inside * between).sum(axis=1).mean(axis=1) * _STEP
    return np.where(lips.any(axis=1).mean(axis=1) >= 0.5, opening, np.nan)


def closed_share(opening: Curve, closed_below: float = CLOSED_BELOW) -> float:
    """The silence test of arXiv 2605.16918: the share of frames, of an opening (n,) in heights of the face seen while
    nothing is said, in which the lips are closed. Where no lips are seen (NaN) they are not. Raises ValueError without
    a frame."""
    if opening.size == 0:
        raise ValueError("there is no frame of silence")
    return float(np.mean(opening < closed_below))


def _rows() -> Curve:
    return np.asarray(np.arange(-_ABOVE, _BELOW, _STEP))


def _strips(frames: Image, mouth: Places) -> NDArray[np.float32]:
    """(F, rows, 9, 3): what lies around the mouth, every row `_STEP` faces below the one before."""
    down, across = _rows()[:, None], np.linspace(-_BESIDE, _BESIDE, 9)[None, :]
    strips = []
    for frame, (x, y, face) in zip(frames, mouth.astype(np.float64).tolist(), strict=True):
        columns = np.broadcast_to(x + face * across - 0.5, (down.size, across.size)).astype(np.float32)
        rows = np.broadcast_to(y + face * down - 0.5, columns.shape).astype(np.float32)
        strips.append(cv2.remap(frame, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return np.stack(strips).astype(np.float32)


def _fades(values: NDArray[np.float32], surely: float, hardly: float) -> NDArray[np.float32]:
    """1 up to `surely`, 0 from `hardly` on."""
    return np.asarray(np.clip((hardly - values) / (hardly - surely), 0.0, 1.0), np.float32)
