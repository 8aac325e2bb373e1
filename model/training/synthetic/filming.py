"""Where the camera sees a face in each frame, what a detector would say of it, and how it is boxed."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from model.faces.boxes import shot_boxes
from model.faces.detector import Detection
from model.faces.tracks import Track
from model.plan import ColorTags, VideoFacts
from model.training.synthetic.performance import wander
from model.training.synthetic.scene import CHIN_DROP, Matrix

FRAME_WIDTH, FRAME_HEIGHT = 1280, 720

_SIGHTING_NOISE = 0.003
"""Standard deviation of what a detector says, in heights of the face."""


class Boxes(StrEnum):
    """How crops are cut. fixed: as dubs do, one height per shot and smoothed places (`model.faces.boxes`). per_frame:
    each frame's own box, which grows with the opening mouth: the first leak of arXiv 2605.16918."""

    FIXED = "fixed"
    PER_FRAME = "per_frame"


@dataclass(frozen=True, slots=True, eq=False)
class Framing:
    """For each of F frames: cameras, face coordinates to px of the frame; the faces a detector would find, (F, 4)
    x, y, w, h; how far the picture behind the head has moved, (F, 2) px; its light."""

    cameras: tuple[Matrix, ...]
    faces: NDArray[np.float64]
    pan: NDArray[np.float64]
    light: NDArray[np.float64]


def frame_face(chin: NDArray[np.float64], half_width: float, fps: float, rng: np.random.Generator) -> Framing:
    """Film a head whose chin is down by `chin` (F,) and whose face is `half_width` wide."""
    frames = len(chin)
    height = rng.uniform(280.0, 380.0) * (1.0 + 0.03 * wander(frames, fps, rng))
    roll = rng.uniform(-0.08, 0.08) + 0.05 * wander(frames, fps, rng)
    sway = np.stack([wander(frames, fps, rng), wander(frames, fps, rng)], axis=1) * (22.0, 10.0)
    pan = np.stack([wander(frames, fps, rng), wander(frames, fps, rng)], axis=1) * rng.uniform(0.0, 14.0)
    middle = np.array([rng.uniform(500.0, 780.0), rng.uniform(330.0, 380.0)]) + sway + pan
    light = rng.uniform(0.85, 1.12) * (1.0 + 0.02 * wander(frames, fps, rng))
    noise = rng.normal(0.0, _SIGHTING_NOISE, (frames, 4)) * height[:, None]
    cameras = tuple(_camera(*numbers) for numbers in zip(height.tolist(), roll.tolist(), middle, strict=True))
    faces = np.stack([_seen(camera, half_width, drop) for camera, drop in zip(cameras, chin.tolist(), strict=True)])
    return Framing(cameras, faces + noise, pan, light)


def crop_boxes(framing: Framing, boxes: Boxes, fps: int) -> NDArray[np.int32]:
    """Crop boxes (F, 4) x0, y0, x1, y1, px of the frame."""
    if boxes is Boxes.PER_FRAME:
        x, y, w, h = framing.faces.T
        return np.stack([x - 0.1 * w, y, x + 1.1 * w, y + 1.1 * h], axis=1).astype(np.int32)
    track = Track()
    for index, (x, y, w, h) in enumerate(framing.faces.tolist()):
        track.add(index, Detection(x, y, w, h, confidence=1.0))
    return shot_boxes(track, 0, len(framing.faces), stride=1, facts=_facts(len(framing.faces), fps))


def _camera(height: float, roll: float, middle: NDArray[np.float64]) -> Matrix:
    """The map that makes a face `height` px high and puts its middle, (0, 0.5), where it is to be."""
    turn = height * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return np.column_stack([turn, middle - turn @ (0.0, 0.5)])


def _seen(camera: Matrix, half_width: float, chin: float) -> NDArray[np.float64]:
    """The box around forehead, sides and chin: x, y, w, h px."""
    ends = np.array([[-half_width, 0.45], [half_width, 0.45], [0.0, 0.0], [0.0, 1.0 + CHIN_DROP * chin]])
    points = ends @ camera[:, :2].T + camera[:, 2]
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([low, high - low])


def _facts(frames: int, fps: int) -> VideoFacts:
    return VideoFacts(
        width=FRAME_WIDTH,
        height=FRAME_HEIGHT,
        rotation_degrees=0,
        fps=Fraction(fps),
        frames=frames,
        duration_seconds=frames / fps,
        time_base=Fraction(1, fps),
        codec="none",
        pixel_format="rgb24",
        color=ColorTags(range=2, primaries=1, transfer=1, matrix=1),
        sample_aspect_ratio=Fraction(1),
        has_audio=True,
    )
