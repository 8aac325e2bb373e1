"""Who is who: detections of one shot joined to one track per face."""

import math
from array import array
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from model.faces.detector import Detection

_MIN_OVERLAP = 0.2
"""Intersection over union with where a face was seen last, from which on a detection is the same face."""

_MIN_HEIGHT = 32.0
"""Faces less high, in px of the frame, have no mouth worth generating."""

_MIN_SIGHTINGS = 3
"""A face seen less often in a shot is a false alarm, unless the shot gave fewer occasions."""

_MAX_TRACKS = 32
"""Tracks followed at a time, false alarms included."""

_MAX_FACES = 8
"""Faces of one shot that can be told apart afterwards. It bounds what is kept of a crowd."""


class Track:
    """One face through one shot: where it was in each frame it was seen in. Numbers only, 28 bytes a sighting."""

    def __init__(self) -> None:
        self._frames = array("q")
        self._boxes = array("f")
        self._turns = array("f")
        self.area = 0.0
        """Sum of the areas of its boxes, px²: how large it is times how long it is there."""

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def frames(self) -> NDArray[np.int64]:
        """(N,) indices of the frames with a sighting, ascending."""
        return np.array(self._frames, np.int64)

    @property
    def boxes(self) -> NDArray[np.float64]:
        """(N, 4) x, y, w, h in px of the frame, one per sighting."""
        return np.array(self._boxes, np.float64).reshape(-1, 4)

    @property
    def turns(self) -> NDArray[np.float64]:
        """(N,) `Detection.turn` of each sighting, NaN where the detector does not tell."""
        return np.array(self._turns, np.float64)

    def add(self, frame: int, face: Detection) -> None:
        """Note that the face was seen."""
        self._frames.append(frame)
        self._boxes.extend((face.x, face.y, face.w, face.h))
        self._turns.append(math.nan if face.turn is None else face.turn)
        self.area += face.w * face.h

    def overlap(self, face: Detection) -> float:
        """Intersection over union of a detection and the last sighting."""
        x, y, w, h = self._boxes[-4:]
        across = min(x + w, face.x + face.w) - max(x, face.x)
        down = min(y + h, face.y + face.h) - max(y, face.y)
        shared = max(0.0, across) * max(0.0, down)
        return shared / (w * h + face.w * face.h - shared)


class ShotTracker:
    """Joins the detections of one shot, frame by frame. Tracks wait for their face until the shot ends."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._looks = 0

    def see(self, frame: int, detections: Sequence[Detection]) -> None:
        """Take in what a detector found in one frame: best overlaps first, then a new track for every new face."""
        self._looks += 1
        faces = [face for face in detections if face.h >= _MIN_HEIGHT and face.w > 0.0]
        overlaps = ((track.overlap(face), track, face) for track, face in product(self._tracks, faces))
        candidates = sorted((c for c in overlaps if c[0] >= _MIN_OVERLAP), key=lambda c: c[0], reverse=True)
        taken: set[int] = set()
        for _, track, face in candidates:
            if not taken & {id(track), id(face)}:
                taken |= {id(track), id(face)}
                track.add(frame, face)
        for face in faces:
            if id(face) not in taken:
                self._tracks.append(Track())
                self._tracks[-1].add(frame, face)
        self._tracks = sorted(self._tracks, key=lambda track: track.area, reverse=True)[:_MAX_TRACKS]

    def tracks(self) -> tuple[Track, ...]:
        """The faces seen often enough, at most eight: the largest area over the whole shot comes first."""
        needed = min(_MIN_SIGHTINGS, self._looks)
        return tuple(track for track in self._tracks if len(track) >= needed)[:_MAX_FACES]
