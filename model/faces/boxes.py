"""Crop boxes from sightings: gaps closed, movement smoothed, and nothing in them that follows the lips.

A detector's box grows when the mouth opens. A network that sees crops of such boxes can read the lips off the eyes and
ignore the voice, so a crop's size and place must not depend on the mouth (arXiv 2605.16918, data leakage).
"""

import numpy as np
from numpy.typing import NDArray

from model.faces.tracks import Track
from model.plan import VideoFacts

GAP_SECONDS = 0.3
"""A face lost for no longer than this, with both ends seen, is interpolated."""

_SMOOTHING_SECONDS = 0.12
"""Standard deviation of the Gaussian on position and width: it halves movement at 1.6 Hz and ends it at 4 Hz, where the
lips move."""

_HEIGHT_RATIO = 1.4
"""A shot whose tallest face is less than so many times its smallest has one box height, the tallest, as published."""

_HEIGHT_REACH_SECONDS = 1.0
_HEIGHT_SMOOTHING_SECONDS = 0.5

_SLACK_OF_WIDTH = 0.004
_MIN_SLACK = 1.0
"""px a smoothed coordinate may drift from the whole px it was put on before that moves: no jitter at rest. What
smoothing leaves of a detector's noise (0.3 px of 1 px) rarely crosses that much and comes back."""

_MIN_SIDE = 16
"""A box less high or wide after clamping to the frame, px, is no face."""

Numbers = NDArray[np.float64]


def shot_boxes(track: Track | None, first: int, stop: int, *, stride: int, facts: VideoFacts) -> NDArray[np.int32]:
    """Box one face in the frames [first, stop) of a shot. Returns (stop - first, 4) x0, y0, x1, y1; zeros = not there.

    stride: the face was looked for in every stride-th frame. Proportions are the published ones: the face's width and
    a tenth on each side; its top; its height and a tenth below.
    """
    boxes = np.zeros((stop - first, 4), np.int32)
    if track is None:
        return boxes
    fps = float(facts.fps)
    sightings, frames = _without_spikes(track.boxes), track.frames
    heights = _steady_heights(np.interp(np.arange(first, stop), frames, sightings[:, 3]), fps)
    for begin, end in _runs(frames, max_distance=stride + GAP_SECONDS * fps):
        run = np.arange(begin, end)
        x, y, w = (
            _smooth(np.interp(run, frames, sightings[:, column]), _SMOOTHING_SECONDS * fps) for column in range(3)
        )
        faces = np.stack([x, y, w, heights[run - first]], axis=1)
        boxes[run - first] = _crop_boxes(faces, facts.width, facts.height)
    return boxes


def _without_spikes(sightings: Numbers) -> Numbers:
    """Median of each three neighbours, (N, 4): a single wrong sighting neither moves a box nor sets a shot's height."""
    padded = np.pad(sightings, [(1, 1), (0, 0)], mode="edge")
    return np.asarray(np.median([padded[:-2], padded[1:-1], padded[2:]], axis=0))


def _runs(frames: NDArray[np.int64], max_distance: float) -> list[tuple[int, int]]:
    """[begin, end) runs of frames whose neighbouring sightings are at most `max_distance` frames apart."""
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > max_distance) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _steady_heights(heights: Numbers, fps: float) -> Numbers:
    """One height for the whole shot, the tallest; if the face comes nearer or goes, one that follows over seconds."""
    if heights.max() < _HEIGHT_RATIO * heights.min():
        return np.full_like(heights, heights.max())
    reach = round(_HEIGHT_REACH_SECONDS * fps)
    padded = np.pad(heights, reach, mode="edge")
    tallest_around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
    return _smooth(tallest_around, _HEIGHT_SMOOTHING_SECONDS * fps)


def _smooth(values: Numbers, sigma: float) -> Numbers:
    """Gaussian of `sigma` samples without delay. Ends are continued in a straight line, so steady movement is kept."""
    reach = max(1, round(4.0 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    padded = np.pad(values, reach, mode="reflect", reflect_type="odd")
    return np.convolve(padded, weights / weights.sum(), mode="valid")


def _crop_boxes(faces: Numbers, frame_width: int, frame_height: int) -> NDArray[np.int32]:
    """Crop boxes (N, 4) in whole px of the smoothed faces (N, 4) x, y, w, h; zeros where too little is in the frame."""
    x, y, w, h = faces.T
    slack = np.maximum(_MIN_SLACK, _SLACK_OF_WIDTH * w)
    left, top = _settle(x - 0.1 * w, slack), _settle(y, slack)
    right, bottom = left + _settle(1.2 * w, slack), top + _settle(1.1 * h, slack)
    boxes = np.stack([left, top, right, bottom], axis=1)
    boxes = np.clip(boxes, 0, [frame_width, frame_height, frame_width, frame_height])
    boxes[(boxes[:, 2:] - boxes[:, :2] < _MIN_SIDE).any(axis=1)] = 0
    return boxes.astype(np.int32)


def _settle(values: Numbers, slack: Numbers) -> NDArray[np.int64]:
    """Whole numbers that stay where they are until the value has moved away from them by more than the slack."""
    settled = np.empty(len(values), np.int64)
    current = round(float(values[0]))
    for index, (value, allowed) in enumerate(zip(values.tolist(), slack.tolist(), strict=True)):
        if abs(value - current) > allowed:
            current = round(value)
        settled[index] = current
    return settled
