"""The faces of a clip, shot by shot, and the one of them that is dubbed, frame by frame."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.errors import FaceTrackNotFound, NoFaceAtPoint, NoFaceFound
from model.faces.boxes import shot_boxes
from model.faces.tracks import Track
from model.plan import AUTO, FaceChoice, FacePoint, VideoFacts


@dataclass(frozen=True, slots=True, eq=False)
class FaceTrack:
    """Where the face is in each of the F source frames, and what the pass over them learned on the way.

    boxes: (F, 4) int32 crop boxes (x0, y0, x1, y1) px, all zero where the face is absent. shots: [first, stop) runs
    that cover all frames. pts: presentation time of each frame, duration: the end of the last one; in ticks of the
    video's time base.
    """

    boxes: NDArray[np.int32]
    shots: tuple[tuple[int, int], ...]
    pts: tuple[int, ...]
    duration: int

    @property
    def present(self) -> NDArray[np.bool_]:
        """(F,) whether a frame shows the face."""
        return np.asarray(self.boxes.any(axis=1), np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class ShotFace:
    """One face in the source frames [first, stop) of one shot.

    The same file and detector give the same id: s2f0 is the largest face of the third shot, s2f1 the next.
    """

    shot: int
    rank: int
    first: int
    stop: int
    track: Track

    @property
    def id(self) -> str:
        """The name by which a face is chosen."""
        return f"s{self.shot}f{self.rank}"


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Every face of a clip of F frames. Numbers only.

    auto: (F, 4) int32 boxes of the choice AUTO. faces: what else may be chosen, by shot, largest first. stride: the
    detector looked at every stride-th frame. shots, pts, duration: see FaceTrack.
    """

    auto: NDArray[np.int32]
    faces: tuple[ShotFace, ...]
    stride: int
    facts: VideoFacts
    shots: tuple[tuple[int, int], ...]
    pts: tuple[int, ...]
    duration: int

    def follow(self, choice: FaceChoice = AUTO) -> FaceTrack:
        """The track of the face to dub. Only AUTO names a face in more than one shot.

        Raises NoFaceFound when no frame shows a face, FaceTrackNotFound and NoFaceAtPoint when none is the chosen one.
        """
        if not self.auto.any():
            raise NoFaceFound("No frame shows a face. Send a clip with one visible face at least 64 px high.")
        if choice == AUTO:
            return FaceTrack(self.auto, self.shots, self.pts, self.duration)
        (face,) = self.chosen(choice)
        boxes = np.zeros_like(self.auto)
        boxes[face.first : face.stop] = self.boxes(face)
        return FaceTrack(boxes, self.shots, self.pts, self.duration)

    def chosen(self, choice: FaceChoice) -> tuple[ShotFace, ...]:
        """The faces that a choice means: with AUTO the largest of each shot.

        Raises FaceTrackNotFound and NoFaceAtPoint when none is the chosen one.
        """
        if isinstance(choice, FacePoint):
            return (self._at(choice),)
        if choice == AUTO:
            return tuple(face for face in self.faces if face.rank == 0)
        return (self._named(choice),)

    def boxes(self, face: ShotFace) -> NDArray[np.int32]:
        """Crop boxes (stop - first, 4) of one face, all zero where it is absent."""
        return shot_boxes(face.track, face.first, face.stop, stride=self.stride, facts=self.facts)

    def _named(self, track_id: str) -> ShotFace:
        for face in self.faces:
            if face.id == track_id:
                return face
        raise FaceTrackNotFound(f"The clip has no face track {track_id}.")

    def _at(self, point: FacePoint) -> ShotFace:
        """The face at a point; of several the one whose middle is nearest."""
        place = f"({point.x:g}, {point.y:g}) at {point.time_seconds:g} s"
        ticks = point.time_seconds / self.facts.time_base
        if not 0 <= ticks < self.duration:
            raise NoFaceAtPoint(f"The video shows nothing {place}: it ends at {self._duration_seconds:g} s.")
        distances = dict(self._distances(point, bisect_right(self.pts, ticks) - 1))
        if not distances:
            raise NoFaceAtPoint(f"No face is at {place}.")
        return min(distances, key=lambda face: distances[face])

    def _distances(self, point: FacePoint, frame: int) -> Iterator[tuple[ShotFace, float]]:
        """The faces whose box in a frame holds the point, each with its middle's distance from it, px."""
        for face in self.faces:
            if face.first <= frame < face.stop:
                x0, y0, x1, y1 = self.boxes(face)[frame - face.first].tolist()
                if x0 <= point.x < x1 and y0 <= point.y < y1:
                    yield face, float(np.hypot((x0 + x1) / 2 - point.x, (y0 + y1) / 2 - point.y))

    @property
    def _duration_seconds(self) -> float:
        return float(self.duration * self.facts.time_base)
