"""Face detectors behind one protocol and one box convention: WIDER FACE, from the forehead to the chin."""

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from model.errors import DetectorError

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

DETECTION_SIDE = 640
"""Long side, px, at which faces are searched. Both detectors find a face from about a tenth of it up."""

MIN_CONFIDENCE = 0.5
"""Detections must be more confident than this, as in the published program."""

YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
"""face_detection_yunet_2026may.onnx of the OpenCV Zoo (MIT)."""

YUNET_BYTES = 229_738


@dataclass(frozen=True, slots=True)
class Detection:
    """One face: upper left corner and size in px of the picture it was found in, confidence in [0, 1].

    The box may reach beyond the picture. turn: how far the tip of the nose is from the middle between the eyes, along
    the line through them, in units of their distance; None from a detector that sees no noses. A head turned by 48
    degrees has 0.5: its nose is before one eye.
    """

    x: float
    y: float
    w: float
    h: float
    confidence: float
    turn: float | None = None

    def scaled(self, factor: float) -> "Detection":
        """The same face in a picture `factor` times as large."""
        return replace(self, x=self.x * factor, y=self.y * factor, w=self.w * factor, h=self.h * factor)


class FaceDetector(Protocol):
    """Finds every face of one picture."""

    @property
    def stride(self) -> int:
        """Look at every stride-th frame of a shot; the frames between are worth interpolating, not searching."""
        ...

    def detect(self, frame_rgb: Image) -> list[Detection]:
        """All faces of a picture (H, W, 3) uint8 RGB more confident than MIN_CONFIDENCE, in no particular order."""
        ...


def shrink(frame_rgb: Image, long_side: int = DETECTION_SIDE) -> tuple[Image, float]:
    """Scale a picture down until its long side fits. Returns the picture and how many source px one of its px spans."""
    frame_rgb = np.ascontiguousarray(frame_rgb)
    height, width = frame_rgb.shape[:2]
    factor = max(height, width) / long_side
    if factor <= 1.0:
        return frame_rgb, 1.0
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(cv2.resize(frame_rgb, size, interpolation=cv2.INTER_AREA), np.uint8), factor


def read_yunet(path: Path) -> bytes:
    """YuNet's file. Raises DetectorError when it is missing or is not the one file whose hash is known."""
    try:
        model = path.read_bytes()
    except OSError as error:
        raise DetectorError(f"The face detector's file {path} cannot be read: {error.strerror}.") from error
    digest = hashlib.sha256(model).hexdigest()
    if digest != YUNET_SHA256:
        raise DetectorError(f"The face detector's file {path} has sha256 {digest}, not {YUNET_SHA256}.")
    return model


class YunetDetector:
    """YuNet through OpenCV: about 12 ms a frame on one CPU core, so it looks at each."""

    stride = 1

    def __init__(self, path: Path) -> None:
        """Raises DetectorError when the file is missing or is not the one file whose hash is known."""
        model = read_yunet(path)
        self._network = cv2.FaceDetectorYN.create(
            "onnx",
            np.frombuffer(model, np.uint8),
            np.empty(0, np.uint8),
            (DETECTION_SIDE, DETECTION_SIDE),
            MIN_CONFIDENCE,
        )

    def detect(self, frame_rgb: Image) -> list[Detection]:
        """All faces of a picture; see FaceDetector."""
        small, factor = shrink(frame_rgb)
        self._network.setInputSize((small.shape[1], small.shape[0]))
        _, rows = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        found = np.empty((0, 15)) if rows is None else np.asarray(rows, np.float64)
        faces = map(_yunet_face, found)
        return [face.scaled(factor) for face in faces if face.confidence > MIN_CONFIDENCE]


def _yunet_face(row: NDArray[np.float64]) -> Detection:
    """One face of YuNet: box, five landmarks (both eyes, nose, both corners of the mouth), confidence; (15,)."""
    x, y, w, h = row[:4].tolist()
    return Detection(x, y, w, h, float(row[14]), _turn(row[4:10]))


def _turn(landmarks: NDArray[np.float64]) -> float:
    """`Detection.turn` from x, y of both eyes and of the tip of the nose, (6,)."""
    one_eye, other_eye, nose = landmarks.reshape(3, 2)
    across = other_eye - one_eye
    return abs(float((nose - (one_eye + other_eye) / 2) @ across)) / max(float(across @ across), 1e-6)


class DlibDetector:
    """dlib's built-in HOG detector: no file needed, about 30 to 100 ms a frame, so it looks at every fifth."""

    stride = 5

    # From dlib's square (eyebrows to chin, side h) to the WIDER FACE box, in units of h; fitted to YuNet on real clips.
    _LEFT, _TOP, _WIDTH, _HEIGHT = 0.04, -0.17, 0.92, 1.24

    def __init__(self) -> None:
        import dlib

        self._search = dlib.get_frontal_face_detector()

    def detect(self, frame_rgb: Image) -> list[Detection]:
        """All faces of a picture; see FaceDetector. Looks for faces 80 px high, then, when there is none, for 40 px."""
        small, factor = shrink(frame_rgb)
        squares, margins, _ = self._search.run(small, 0, 0.0)
        if not squares:
            squares, margins, _ = self._search.run(small, 1, 0.0)
        return [
            Detection(
                x=square.left() + self._LEFT * square.height(),
                y=square.top() + self._TOP * square.height(),
                w=self._WIDTH * square.height(),
                h=self._HEIGHT * square.height(),
                confidence=1.0 / (1.0 + math.exp(-margin)),
            ).scaled(factor)
            for square, margin in zip(squares, margins, strict=True)
        ]


def make_detector(yunet_path: Path | None) -> FaceDetector:
    """YuNet when its file is given, else dlib. Raises DetectorError when the given file is not usable."""
    return DlibDetector() if yunet_path is None else YunetDetector(yunet_path)
