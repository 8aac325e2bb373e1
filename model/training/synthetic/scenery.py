"""What is behind a head: rooms out of focus."""

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.synthetic.heads import Image


def paint_background(width: int, height: int, rng: np.random.Generator) -> Image:
    """A background (height, width, 3): two colours that run into each other, and things out of focus."""
    corners = np.stack([_wall(rng) for _ in range(4)]).reshape(2, 2, 3)
    small = cv2.resize(corners, (160, 90), interpolation=cv2.INTER_LINEAR)
    for _ in range(int(rng.integers(0, 14))):
        x, y, w, h = rng.integers((0, 0, 4, 4), (160, 90, 60, 70)).tolist()
        color = (0.5 * small[y, x] + 0.5 * _wall(rng)).tolist()
        if rng.uniform() < 0.6:
            cv2.rectangle(small, (x - w // 2, y - h // 2), (x + w // 2, y + h // 2), color, -1)
        else:
            cv2.ellipse(small, (x, y), (w // 2 + 1, h // 2 + 1), 0, 0, 360, color, -1)
    blurred = cv2.GaussianBlur(small, (0, 0), float(rng.uniform(0.6, 4.0)))
    large = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(large), 0, 255).astype(np.uint8)


def _wall(rng: np.random.Generator) -> NDArray[np.float32]:
    """A colour, more grey than not."""
    color = rng.uniform(15, 240, 3)
    return np.asarray(color + 0.65 * (color.mean() - color), np.float32)
