"""Videos for `prepare`: white rectangles for faces where only rules are tried, and a drawn head where a detector is."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.faces.detector import Detection
from model.training.synthetic.drawing import EyePose, MouthPose
from model.training.synthetic.looks import Look
from model.training.synthetic.painting import paint_head
from model.training.synthetic.scene import Pose, Scene
from tests.media_factory import make_video
from tests.synthetic_faces import FULL_RANGE_709, WHITE, Rectangle, WhiteRectangleDetector, textured

WIDTH, HEIGHT = 320, 240
Faces = Callable[[int], Sequence[Rectangle]]
"""The rectangles of a frame."""


class BrightRectangleDetector(WhiteRectangleDetector):
    """The same for pictures that were encoded, where white is nearly white."""

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Detection]:
        bright = (frame_rgb > 230).all(axis=2, keepdims=True)
        return super().detect(np.where(bright, WHITE, 0).astype(np.uint8).repeat(3, axis=2))


def rectangles(
    path: Path, frames: int, faces: Faces, *, fps: Fraction | int = 25, sound: bool = True, cut_at: int | None = None
) -> Path:
    """A video of white rectangles on a textured ground, which is another from frame `cut_at` on."""
    pictures = []
    for index in range(frames):
        picture = textured(WIDTH, HEIGHT, scene=int(cut_at is not None and index >= cut_at))
        for x, y, w, h in faces(index):
            picture[y : y + h, x : x + w] = WHITE
        pictures.append(picture)
    return make_video(
        path,
        width=WIDTH,
        height=HEIGHT,
        frames=frames,
        fps=fps,
        pixel_format="yuv444p",
        color=FULL_RANGE_709,
        options={"qp": "0"},
        pictures=pictures,
        audio_seconds=frames / float(fps) if sound else 0.0,
    )


def heads(path: Path, frames: int, middles: Sequence[int]) -> Path:
    """A video, 640 x 360, of drawn heads, 160 px high, around these columns, with a tone."""
    scenes = []
    for number, _ in enumerate(middles):
        rng = np.random.default_rng(number + 1)
        head = paint_head(Look.drawn(rng), 200.0, rng)
        scenes.append(Scene(head, np.full((360, 640, 3), 120, np.uint8), rng))
    width = 640 // len(scenes)
    pictures = []
    for index in range(frames):
        opening = 0.5 + 0.5 * np.sin(index)
        mouth = MouthPose(opening, 0.0, 0.0, 0.2, 0.0, opening)
        parts = []
        for scene, middle in zip(scenes, middles, strict=True):
            camera = np.array([[160.0, 0.0, float(middle)], [0.0, 160.0, 100.0]])
            eyes = EyePose(1.0, 0.0, (0.0, 0.0))
            pose = Pose(camera, (0.0, 0.0), mouth, eyes, 0.0, 0.0, opening, 1.0, (0.0, 0.0))
            whole = scene.shoot(pose, (0, -140, 640, 500), 640)[140:500]
            parts.append(whole[:, len(parts) * width : (len(parts) + 1) * width])
        pictures.append(np.hstack(parts))
    return make_video(path, width=640, height=360, frames=frames, pictures=pictures, audio_seconds=frames / 25)
