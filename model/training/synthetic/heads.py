"""A head to animate: a still picture of it with its mouth left out, and where on it everything is.

Face coordinates: the unit is the height of the resting face, forehead to chin; (0, 0) is the middle of the forehead's
upper end, x to the right, y down, so the chin is at y = 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Plane = NDArray[np.floating[Any]]
Color = tuple[float, float, float]
"""RGB in [0, 255]."""

X_MIN, X_MAX, Y_MIN, Y_MAX = -1.0, 1.0, -0.55, 1.65
"""What of the face's surroundings a picture of a head holds, face coordinates."""


@dataclass(frozen=True, slots=True)
class Mouth:
    """A mouth at rest. Middle, half width and thickness of the lips in face coordinates; curve: how far the corners lie
    below (negative: above) the middle; reach: the widest opening; teeth: half width of the row that shows."""

    x: float
    y: float
    half_width: float
    upper_lip: float
    lower_lip: float
    curve: float
    reach: float
    teeth: float
    lips: Color
    inside: Color
    enamel: Color
    tongue: Color


@dataclass(frozen=True, slots=True)
class Eyes:
    """A pair of eyes. Middle of the right half's eye (the left one mirrors it), half width and half height open; slant:
    how far the outer corner lies above the inner one."""

    x: float
    y: float
    half_width: float
    half_height: float
    slant: float
    iris: Color
    lid: Color
    lash: Color


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What a clip animates.

    picture: (H, W, 4) uint8, RGB times opacity and opacity, over [X_MIN, X_MAX] x [Y_MIN, Y_MAX], `density` px per
    unit. overlay: the same for what lies before the eyes, or None. eyes: None when the picture shows them already.
    half_width: of the face. shape: depth of the surface in units, (H, W).
    """

    name: str
    picture: Image
    overlay: Image | None
    shape: Plane
    density: float
    half_width: float
    mouth: Mouth
    eyes: Eyes | None


def canvas(density: float) -> tuple[Plane, Plane]:
    """Face coordinates of the px of a picture of a head: x (1, W) and y (H, 1)."""
    columns = (np.arange(round((X_MAX - X_MIN) * density)) + 0.5) / density + X_MIN
    rows = (np.arange(round((Y_MAX - Y_MIN) * density)) + 0.5) / density + Y_MIN
    return columns[None, :].astype(np.float32), rows[:, None].astype(np.float32)


def bump(x: Plane, y: Plane, centre: tuple[float, float], size: tuple[float, float]) -> Plane:
    """A Gaussian hill of height 1, standard deviations `size`."""
    return np.asarray(
        np.exp(-0.5 * ((x - centre[0]) / size[0]) ** 2) * np.exp(-0.5 * ((y - centre[1]) / size[1]) ** 2), np.float32
    )


def twin_bump(x: Plane, y: Plane, centre: tuple[float, float], size: tuple[float, float]) -> Plane:
    """A hill on either side of the face."""
    return bump(np.abs(x), y, centre, size)


def smoothstep(t: Plane) -> Plane:
    """From 0 to 1, level at both ends."""
    t = np.clip(t, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)
