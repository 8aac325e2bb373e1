"""Stage: find the faces of every source frame, in one pass over the video."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from model.faces.boxes import shot_boxes
from model.faces.detector import DETECTION_SIDE, Detection, FaceDetector, Image
from model.faces.published import largest_face, published_segments
from model.faces.shots import mark_cuts
from model.faces.track import Faces, ShotFace
from model.faces.tracks import ShotTracker
from model.media.picture import Picture
from model.plan import Geometry, VideoFacts
from model.progress import OnProgress, Stage, StageProgress, ignore_progress

Shots = list[tuple[int, int]]
Followed = tuple[NDArray[np.int32], Shots, list[ShotFace]]
"""Boxes (F, 4) of the automatic choice, the shots, and every face that may be chosen."""


class SourceFrame(Protocol):
    """What is needed of a decoded frame. pts and duration: ticks of the video's time base."""

    @property
    def pts(self) -> int: ...  # noqa: D102

    @property
    def duration(self) -> int: ...  # noqa: D102

    @property
    def planes(self) -> Picture: ...  # noqa: D102


def track_faces(
    frames: Iterable[SourceFrame],
    facts: VideoFacts,
    detector: FaceDetector,
    geometry: Geometry,
    on_progress: OnProgress = ignore_progress,
) -> Faces:
    """Follow the faces of each shot through all frames of a video, first to last. Finding none is a finding, too.

    tracked: every face of a shot can be chosen; AUTO is the one with the largest area summed over its shot, in smoothed
    boxes. published: AUTO alone, the largest face of each frame; a shot is then a segment of the published program.
    Only numbers and two shrunk frames are kept.
    """
    clock = _Clock()
    pictures = _shrunk(frames, clock, on_progress, facts.frames)
    follow = _follow_published if geometry is Geometry.PUBLISHED else _follow_tracked
    auto, shots, faces = follow(pictures, facts, detector)
    return Faces(auto, tuple(faces), detector.stride, facts, tuple(shots), tuple(clock.pts), clock.duration)


class _Clock:
    """The times of the frames that have passed, in ticks."""

    def __init__(self) -> None:
        self.pts = array("q")
        self.duration = 0

    def tick(self, frame: SourceFrame) -> None:
        """Note one more frame."""
        self.pts.append(frame.pts)
        self.duration = frame.pts + frame.duration


def _shrunk(
    frames: Iterable[SourceFrame], clock: _Clock, on_progress: OnProgress, frames_total: int
) -> Iterator[Image]:
    """Every frame as small as detectors want it; the clock and the listener hear of each."""
    for frame in frames:
        clock.tick(frame)
        yield _small_rgb(frame.planes)
        done = len(clock.pts)
        on_progress(StageProgress(Stage.TRACK_FACES, done, max(done, frames_total)))


def _small_rgb(picture: Picture) -> Image:
    """A picture as RGB of at most DETECTION_SIDE px. Shrunk as planes: RGB of a whole frame costs too much."""
    factor = max(picture.width, picture.height) / DETECTION_SIDE
    if factor <= 1.0:
        return picture.to_rgb()
    size = (max(1, round(picture.width / factor)), max(1, round(picture.height / factor)))
    y, u, v = (
        np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)
        for plane in (picture.y, picture.u, picture.v)
    )
    return Picture(y, u, v, picture.color).to_rgb()


def _follow_tracked(pictures: Iterable[Image], facts: VideoFacts, detector: FaceDetector) -> Followed:
    """All tracks of each shot; the detector looks at its every stride-th frame and at its last."""
    boxes = [np.zeros((0, 4), np.int32)]
    shots: Shots = []
    faces: list[ShotFace] = []
    tracker, first = ShotTracker(), 0
    for index, (picture, ends_shot) in enumerate(_mark_ends(mark_cuts(pictures))):
        if (index - first) % detector.stride == 0 or ends_shot:
            tracker.see(index, _detect(picture, facts, detector))
        if ends_shot:
            tracks = tracker.tracks()
            faces += (ShotFace(len(shots), rank, first, index + 1, track) for rank, track in enumerate(tracks))
            shots.append((first, index + 1))
            largest = tracks[0] if tracks else None
            boxes.append(shot_boxes(largest, *shots[-1], stride=detector.stride, facts=facts))
            tracker, first = ShotTracker(), index + 1
    return np.concatenate(boxes), shots, faces


def _follow_published(pictures: Iterable[Image], facts: VideoFacts, detector: FaceDetector) -> Followed:
    """The published program's segments as shots, with its boxes; the detector looks at every frame."""
    largest = [largest_face(_detect(picture, facts, detector)) for picture in pictures]
    segments = published_segments(largest, facts.width, facts.height)
    boxes = [box for segment in segments for box in segment.boxes]
    return np.array(boxes, np.int32).reshape(-1, 4), [(segment.first, segment.stop) for segment in segments], []


def _detect(picture: Image, facts: VideoFacts, detector: FaceDetector) -> list[Detection]:
    """The faces of a shrunk picture, in px of the video's frame."""
    factor = max(facts.width, facts.height) / max(picture.shape[:2])
    return [face.scaled(factor) for face in detector.detect(picture)]


def _mark_ends(pictures: Iterable[tuple[Image, bool]]) -> Iterator[tuple[Image, bool]]:
    """Turn "a shot starts here" into "a shot ends here"."""
    for (picture, _), (_, starts_next) in pairwise(chain(pictures, [(None, True)])):
        if picture is not None:
            yield picture, starts_next
