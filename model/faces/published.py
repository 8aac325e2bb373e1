"""Boxes, segments and paste of the published program, number for number (docs/model.md).

Kept for comparison with published results; `model.faces.boxes` is what dubs use. One flaw is kept on purpose: a segment
whose first frame has no face is not generated, and a face lost within a generated one is fed as the whole frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from model.faces.detector import MIN_CONFIDENCE, Detection, Image
from model.plan import Box

NO_BOX: Box = (0, 0, 0, 0)

CHUNK_FRAMES = 1500
"""The program renders its video in chunks of so many frames; no segment crosses their borders."""

_JUMP = 0.2
_HEIGHT_RATIO = 1.4
_RAMP_PER_SIDE = 15

_Face = tuple[float, float, float, float]
"""(x, y, w, h) px; all zero = no face."""


@dataclass(frozen=True, slots=True)
class PublishedSegment:
    """Frames [first, stop) with one box each, NO_BOX where no face was found."""

    first: int
    stop: int
    use_max_height: bool
    boxes: tuple[Box, ...]

    @property
    def is_generated(self) -> bool:
        """Whether the program renders these frames; the others it copies."""
        return self.boxes[0] != NO_BOX


def largest_face(detections: Sequence[Detection]) -> _Face:
    """The largest confident detection of one frame, all zero when there is none."""
    confident = [found for found in detections if found.confidence > MIN_CONFIDENCE]
    if not confident:
        return (0.0, 0.0, 0.0, 0.0)
    face = max(confident, key=lambda found: found.w * found.h)
    return (face.x, face.y, face.w, face.h)


def published_segments(faces: Sequence[_Face], frame_width: int, frame_height: int) -> tuple[PublishedSegment, ...]:
    """Split the frames where the face jumps, and box every face. faces: `largest_face` of every frame."""
    starts = [
        index
        for index in range(len(faces))
        if index % CHUNK_FRAMES == 0 or _jumps(faces[index - 1], faces[index], frame_width, frame_height)
    ]
    return tuple(
        _segment(first, faces[first:stop], frame_width, frame_height) for first, stop in pairwise([*starts, len(faces)])
    )


def _jumps(before: _Face, after: _Face, frame_width: int, frame_height: int) -> bool:
    (x, y, w, h), (x_after, y_after, w_after, h_after) = before, after
    across = abs(x - x_after) + abs(x + w - x_after - w_after)
    down = abs(y - y_after) + abs(y + h - y_after - h_after)
    return across / frame_width + down / frame_height > _JUMP


def _segment(first: int, faces: Sequence[_Face], frame_width: int, frame_height: int) -> PublishedSegment:
    heights = [height for *_, height in faces]
    use_max_height = max(heights) < _HEIGHT_RATIO * min(heights)

    def box(face: _Face) -> Box:
        x, y, w, h = face
        if h == 0:
            return NO_BOX
        h = max(heights) if use_max_height else h
        left, right = max(0.0, x - 0.1 * w), min(float(frame_width), x + w + 0.1 * w)
        return (int(left), int(max(0.0, y)), int(right), int(min(float(frame_height), y + h + 0.1 * h)))

    return PublishedSegment(first, first + len(faces), use_max_height, tuple(box(face) for face in faces))


def blend_weights(width: int, height: int) -> NDArray[np.float64]:
    """Weights (height, width) of the original in a box of this size: 1 keeps the frame, 0 takes the generated picture.

    A ramp of min(w, h) // 15 px along each side; each corner is the bilinear patch 1 outside, 0.7 at its two
    neighbours, 0 inside. A ramp of one px is its first value alone, so it keeps the frame at the top and the left only.
    """
    ramp = min(width // _RAMP_PER_SIDE, height // _RAMP_PER_SIDE)
    weights = np.zeros((height, width))
    if ramp > 0:
        first, last = slice(None, ramp), slice(-ramp, None)
        falling, rising = np.linspace(1.0, 0.0, ramp), np.linspace(0.0, 1.0, ramp)
        weights[first], weights[last] = falling[:, None], rising[:, None]
        weights[:, first], weights[:, last] = falling, rising
        weights[first, first] = _corner(1.0, 0.7, 0.7, 0.0, ramp)
        weights[first, last] = _corner(0.7, 1.0, 0.0, 0.7, ramp)
        weights[last, first] = _corner(0.7, 0.0, 1.0, 0.7, ramp)
        weights[last, last] = _corner(0.0, 0.7, 0.7, 1.0, ramp)
    return weights


def _corner(
    top_left: float, top_right: float, bottom_left: float, bottom_right: float, size: int
) -> NDArray[np.float64]:
    """A bilinear patch (size, size). Rows last, as the program does it: a paste truncates, so the last bit matters."""
    left, right = np.linspace(top_left, bottom_left, size), np.linspace(top_right, bottom_right, size)
    return np.asarray(np.linspace(left, right, size, axis=1))


def paste(region_rgb: Image, generated_rgb: Image) -> Image:
    """Blend a generated crop (S, S, 3) over the region (h, w, 3) of the frame it was made from, both uint8."""
    height, width = region_rgb.shape[:2]
    keep = blend_weights(width, height)[..., None]
    resized = cv2.resize(generated_rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    return (region_rgb * keep + resized * (1.0 - keep)).astype(np.uint8)
