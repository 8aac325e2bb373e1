"""A head in motion before a camera: one picture per frame, of any part of what the camera sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.synthetic.drawing import EyePose, MouthPose, draw_eye, draw_mouth, lip_lines
from model.training.synthetic.heads import X_MIN, Y_MIN, Head, Image, Plane, canvas, smoothstep, twin_bump

Matrix = NDArray[np.float64]
"""(2, 3): an affine map of points."""

_COARSE = 4
"""Displacements are smooth: they are held at a quarter of the picture's density."""

CHIN_DROP = 0.095
"""How far the chin goes down when the jaw drops all the way, face coordinates, at strength 1."""

_BROW_LIFT, _CHEEK_LIFT, _CORNER_PULL = 0.05, 0.028, 0.02
_SENSOR_NOISE = 1.6


@dataclass(frozen=True, slots=True)
class Pose:
    """One frame of a performance.

    camera: face coordinates to px of the frame. turn: yaw and pitch, radians. brow, cheek: how far they are up, about
    [0, 1]. chin: how far the chin is down, [0, 1]. light: what brightness is multiplied by. pan: how far the picture
    behind the head has moved, px of the frame.
    """

    camera: Matrix
    turn: tuple[float, float]
    mouth: MouthPose
    eyes: EyePose
    brow: float
    cheek: float
    chin: float
    light: float
    pan: tuple[float, float]


class Scene:
    """A head before a background. background: (H, W, 3) uint8, of the size of the frame."""

    def __init__(self, head: Head, background: Image, rng: np.random.Generator) -> None:
        self._head = head
        self._background = background
        self._noise = rng.standard_normal((2, 256, 256)).astype(np.float32)
        self._rng = rng
        x, y = canvas(head.density / _COARSE)
        self._depth = cv2.resize(head.shape, (x.shape[1], y.shape[0]), interpolation=cv2.INTER_AREA)
        self._moves = _moves(head, x, y).reshape(4, -1)
        self._grid = (y.shape[0], x.shape[1], 2)

    def shoot(self, pose: Pose, box: Sequence[float], size: int) -> Image:
        """The part `box` (x0, y0, x1, y1; px of the frame) of one frame, as (size, size, 3) uint8 RGB."""
        head = self._head
        zoom = np.array([(box[2] - box[0]) / size, (box[3] - box[1]) / size])
        to_frame = np.array([[zoom[0], 0.0, box[0]], [0.0, zoom[1], box[1]]])
        to_face = _after(_inverse(pose.camera), to_frame)
        x, y = self._face_coordinates(to_face, pose, size)
        across, down = (x - X_MIN) * head.density - 0.5, (y - Y_MIN) * head.density - 0.5
        shift = self._shift(pose, across, down)
        cut = cv2.remap(
            *(head.picture, across - shift[..., 0], down - shift[..., 1], cv2.INTER_LINEAR),
            borderMode=cv2.BORDER_REPLICATE,
        )
        image = cut[..., :3].astype(np.float32)
        px = float(np.sqrt(abs(np.linalg.det(to_face[:, :2]))))
        self._draw_features(image, x, y, pose, px)
        if head.overlay is not None:
            glass = cv2.remap(head.overlay, across, down, cv2.INTER_LINEAR)
            image *= (255 - glass[..., 3:]) * np.float32(1 / 255)
            image += glass[..., :3]
        image += self._behind(to_frame, pose, size) * ((255 - cut[..., 3:]) * np.float32(1 / 255))
        image *= np.float32(pose.light)
        image += self._grain(size)
        return np.clip(np.rint(image, out=image), 0, 255).astype(np.uint8)

    def mouth_place(self, pose: Pose) -> NDArray[np.float64]:
        """Where the lips meet when they are closed, x and y in px of the frame."""
        mouth = self._head.mouth
        density = self._head.density
        row, column = round((mouth.y - Y_MIN) * density), round((mouth.x - X_MIN) * density)
        turned = np.array([mouth.x, mouth.y]) + np.array(pose.turn) * float(self._head.shape[row, column])
        return np.asarray(pose.camera[:, :2] @ turned + pose.camera[:, 2])

    def _behind(self, to_frame: Matrix, pose: Pose, size: int) -> Image:
        """The background in a crop."""
        moved = to_frame - np.array([[0.0, 0.0, pose.pan[0]], [0.0, 0.0, pose.pan[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(self._background, moved, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(picture, np.uint8)

    def _face_coordinates(self, to_face: Matrix, pose: Pose, size: int) -> tuple[Plane, Plane]:
        """Of each px of the result, (size, size) x and y, with the head turned."""
        at = np.arange(size) + 0.5
        x = (to_face[0, 0] * at + to_face[0, 2])[None, :] + (to_face[0, 1] * at)[:, None]
        y = (to_face[1, 0] * at + to_face[1, 2])[None, :] + (to_face[1, 1] * at)[:, None]
        density = self._head.density / _COARSE
        into = np.array([[density, 0.0, -X_MIN * density - 0.5], [0.0, density, -Y_MIN * density - 0.5]])
        half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
        sampling = _after(_after(into, to_face), half)
        depth = cv2.warpAffine(self._depth, sampling, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return (x - pose.turn[0] * depth).astype(np.float32), (y - pose.turn[1] * depth).astype(np.float32)

    def _shift(self, pose: Pose, across: Plane, down: Plane) -> Plane:
        """How far the skin has moved where each px looks, (size, size, 2) px of the picture."""
        amounts = np.array(
            [
                CHIN_DROP * pose.chin,
                -_BROW_LIFT * pose.brow,
                -_CHEEK_LIFT * pose.cheek,
                _CORNER_PULL * (pose.mouth.width - pose.mouth.rounding),
            ],
            np.float32,
        )
        moved = (amounts * np.float32(self._head.density) @ self._moves).reshape(self._grid)
        coarse = np.float32(1 / _COARSE)
        offset = np.float32(0.5 / _COARSE - 0.5)
        return np.asarray(
            cv2.remap(moved, across * coarse + offset, down * coarse + offset, cv2.INTER_LINEAR), np.float32
        )

    def _draw_features(self, image: Plane, x: Plane, y: Plane, pose: Pose, px: float) -> None:
        mouth, eyes = self._head.mouth, self._head.eyes
        lines = lip_lines(mouth, pose.mouth)
        high = lines.lift + 1.4 * lines.upper_lip + 0.02
        low = lines.drop + lines.lower_lip + 0.02
        area = _where(x, y, (mouth.x, mouth.y + (low - high) / 2), (lines.half_width + 0.01, (low + high) / 2))
        draw_mouth(image[area], x[area], y[area], mouth, pose.mouth, px)
        if eyes is None:
            return
        for side in (-1, 1):
            area = _where(x, y, (side * eyes.x, eyes.y), (eyes.half_width + 0.01, 2.2 * eyes.half_height))
            draw_eye(image[area], x[area], y[area], eyes, pose.eyes, px)

    def _grain(self, size: int) -> Plane:
        """The noise of a sensor, (size, size, 1)."""
        which, row, column = (int(number) for number in self._rng.integers(0, (2, 256, 256)))
        tile = np.roll(self._noise[which], (row, column), (0, 1))
        repeats = -(-size // 256)
        return np.float32(_SENSOR_NOISE) * np.tile(tile, (repeats, repeats))[:size, :size, None]


def _moves(head: Head, x: Plane, y: Plane) -> Plane:
    """Which way the skin goes, (4, h, w, 2): with the chin, the brows, the cheeks, the corners of the mouth."""
    mouth = head.mouth
    moves = np.zeros((4, y.shape[0], x.shape[1], 2), np.float32)
    along = smoothstep((y - mouth.y - 0.01) / 0.1)
    moves[0, ..., 1] = along * (1.0 - smoothstep((y - 1.04) / 0.3)) * np.exp(-((np.abs(x - mouth.x) / 0.3) ** 4))
    eye_x, brow_y = (head.eyes.x, head.eyes.y - 0.1) if head.eyes is not None else (0.17, 0.3)
    moves[1, ..., 1] = twin_bump(x - mouth.x, y, (eye_x, brow_y), (0.1, 0.045))
    moves[2, ..., 1] = twin_bump(x - mouth.x, y, (0.21, 0.55), (0.09, 0.06))
    moves[3, ..., 0] = np.sign(x - mouth.x) * twin_bump(
        x - mouth.x, y, (mouth.half_width + 0.03, mouth.y), (0.06, 0.07)
    )
    return moves


def _where(x: Plane, y: Plane, centre: tuple[float, float], half: tuple[float, float]) -> tuple[slice, slice]:
    """The rows and columns of what lies in a box of face coordinates; nothing, when it is not in the picture."""
    inside = (np.abs(x - centre[0]) < half[0]) & (np.abs(y - centre[1]) < half[1])
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows) == 0:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _after(second: Matrix, first: Matrix) -> Matrix:
    """One affine map after another."""
    return np.asarray(np.hstack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2:] + second[:, 2:]]))


def _inverse(matrix: Matrix) -> Matrix:
    return np.asarray(cv2.invertAffineTransform(matrix))
