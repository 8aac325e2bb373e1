"""Shots: where the picture changes all at once."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from model.faces.detector import Image

_THUMBNAIL = (32, 32)
_MIN_CHANGE = 3.0
"""Mean difference of two thumbnails, of 255, below which nothing counts as a cut. A person who talks before a fixed
camera changes it by 0.5 from frame to frame, by 1.6 at most; a jump cut within such a shot by 2 to 7."""

_TIMES_THE_MOTION = 3.0
"""A cut changes the picture this many times as much as the motion around it does."""

_MEMORY = 8
"""Frames of motion remembered."""


def mark_cuts(pictures: Iterable[Image]) -> Iterator[tuple[Image, bool]]:
    """Yield every picture (H, W, 3) with whether a shot starts there. The first one starts a shot.

    A cut is where both pictures before differ from both pictures after by a few times the motion around them. So a
    flash is no cut (the pictures around it agree), nor is a pan (its motion is as large as its change), nor is a
    dissolve. A shot has at least two frames. Holds two pictures at a time.
    """
    before: deque[NDArray[np.float32]] = deque(maxlen=2)
    motion: deque[float] = deque(maxlen=_MEMORY)
    with_thumbnails = ((picture, _thumbnail(picture)) for picture in pictures)
    for (picture, here), (_, after) in pairwise(chain(with_thumbnails, [(None, None)])):
        if picture is None or here is None:
            continue
        is_first = not before
        is_cut = False
        if not is_first:
            following = [here] if after is None else [here, after]
            change = min(_difference(old, new) for old in before for new in following)
            if after is not None and len(before) == 2:
                around = max(_usual(motion), _difference(here, after))
                is_cut = change >= max(_MIN_CHANGE, _TIMES_THE_MOTION * around)
            motion.append(change)
        if is_cut:
            before.clear()
        before.append(here)
        yield picture, is_first or is_cut


def _thumbnail(picture: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(picture, _THUMBNAIL, interpolation=cv2.INTER_AREA), np.float32)


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).mean())


def _usual(motion: deque[float]) -> float:
    """The upper quartile: blind to cuts and flashes, but not to motion that stands still every other frame."""
    return sorted(motion)[-1 - len(motion) // 4] if motion else 0.0
