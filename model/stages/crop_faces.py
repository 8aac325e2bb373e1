"""Stage: cut the faces out of their frames, at the size the networks want."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from model.faces.detector import Image
from model.plan import Box


def crop_faces(frames_rgb: Iterable[Image], boxes: Sequence[Box], crop_size: int) -> Image:
    """Crop every frame (H, W, 3) uint8 RGB to its box and stretch it to a square, bilinearly as published.

    A frame whose box is empty is taken whole, as the published program does with a face lost within a segment.
    Takes one frame at a time. Returns (F, crop_size, crop_size, 3) uint8 RGB. Raises ValueError when there are not
    exactly as many frames as boxes.
    """
    crops = np.empty((len(boxes), crop_size, crop_size, 3), np.uint8)
    for crop, frame, (x0, y0, x1, y1) in zip(crops, frames_rgb, boxes, strict=True):
        region = frame[y0:y1, x0:x1] if x1 > x0 and y1 > y0 else frame
        crop[...] = cv2.resize(region, (crop_size, crop_size), interpolation=cv2.INTER_LINEAR)
    return crops
