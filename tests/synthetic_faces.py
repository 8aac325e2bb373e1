"""Videos without people: a face is a white rectangle on a textured ground, and a detector that finds such faces."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from model.faces.detector import Detection
from model.media.picture import Picture, rgb_to_planes
from model.plan import ColorTags, VideoFacts

WHITE = 255
FULL_RANGE_709 = ColorTags(range=2, primaries=1, transfer=1, matrix=1)
Rectangle = tuple[int, int, int, int]
"""x, y, w, h px."""


class SteadyDetector:
    """Sees the same faces in every picture, or none."""

    stride = 1

    def __init__(self, *faces: Detection) -> None:
        self._faces = list(faces)

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Detection]:
        return self._faces


class WhiteRectangleDetector:
    """Takes every connected white area for a face; counts how often it was asked."""

    def __init__(self, stride: int = 1) -> None:
        self.stride = stride
        self.looks = 0

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Detection]:
        self.looks += 1
        white = (frame_rgb == WHITE).all(axis=2).astype(np.uint8)
        _, _, areas, _ = cv2.connectedComponentsWithStats(white)
        return [Detection(*area[:4], confidence=0.9) for area in areas[1:].tolist()]


@dataclass(frozen=True)
class PaintedFrame:
    """A frame as `track_faces` wants it: 40 ms of a 1/1000 s clock. A face turned away is there, but not found; other
    people are always found."""

    index: int
    face: Rectangle | None
    width: int = 320
    height: int = 240
    scene: int = 0
    turned_away: bool = False
    others: tuple[Rectangle, ...] = ()
    duration: int = field(default=40, init=False)

    @property
    def pts(self) -> int:
        return 40 * self.index

    @property
    def planes(self) -> Picture:
        rgb = textured(self.width, self.height, self.scene)
        if self.face is not None:
            x, y, w, h = self.face
            rgb[max(0, y) : y + h, max(0, x) : x + w] = WHITE - 1 if self.turned_away else WHITE
        for x, y, w, h in self.others:
            rgb[y : y + h, x : x + w] = WHITE
        return rgb_to_planes(rgb, FULL_RANGE_709, 1)


def textured(width: int, height: int, scene: int) -> NDArray[np.uint8]:
    """A smooth random ground (height, width, 3), another for each scene, never white."""
    blocks = np.random.default_rng(scene).integers(0, 200, (8, 8, 3), np.uint8)
    return np.kron(blocks, np.ones((height // 8, width // 8, 1), np.uint8)).astype(np.uint8)


def painted_frames(faces: Iterable[Rectangle | None], scene: int = 0) -> Iterator[PaintedFrame]:
    """One frame per rectangle, 320 x 240, 25 fps."""
    return (PaintedFrame(index, face, scene=scene) for index, face in enumerate(faces))


def painted_facts(frames: int = 1, width: int = 320, height: int = 240) -> VideoFacts:
    """What a container would say of such frames."""
    return VideoFacts(
        width=width,
        height=height,
        rotation_degrees=0,
        fps=Fraction(25),
        frames=frames,
        duration_seconds=frames / 25,
        time_base=Fraction(1, 1000),
        codec="h264",
        pixel_format="yuv420p",
        color=FULL_RANGE_709,
        sample_aspect_ratio=Fraction(1),
        has_audio=False,
    )
