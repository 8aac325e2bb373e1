"""One frame of a video, as every part of the library sees it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.media.picture import Picture


@dataclass(frozen=True, slots=True)
class Frame:
    """One upright source frame. pts: ticks of the stream's time base, 0 at frame 0. duration: ticks it is shown."""

    index: int
    pts: int
    duration: int
    time_seconds: float
    planes: Picture

    def to_rgb(self) -> NDArray[np.uint8]:
        """The frame as (H, W, 3) uint8 RGB."""
        return self.planes.to_rgb()
