"""Small pictures of faces, for people to choose by."""

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np

from model.faces.detector import Image, shrink
from model.faces.track import Faces, ShotFace
from model.media.reader import read_frames
from model.plan import Box, MediaLimits

THUMBNAIL_SIDE = 160
"""Long side, px, at most."""

_MARGIN = 0.3
"""Of the box, on each side: hair and shoulders say who it is."""

_JPEG_QUALITY = 85


def thumbnail_frame(face: ShotFace) -> int:
    """The source frame in the middle of the face's sightings: the face was really found there."""
    frames = face.track.frames
    return int(frames[len(frames) // 2])


def write_thumbnails(
    video: Path,
    faces: Faces,
    chosen: Sequence[ShotFace],
    folder: Path,
    limits: MediaLimits,
    on_each: Callable[[], None],
) -> dict[str, Path]:
    """Write a JPEG of each chosen face; their paths by the faces' ids.

    The video is read a second time, from key frame to key frame, one picture at a time.
    """
    boxes = {face.id: _box(faces, face) for face in chosen}
    order = sorted((thumbnail_frame(face), face.id) for face in chosen)
    wanted = [(frame, [face_id for _, face_id in group]) for frame, group in groupby(order, key=itemgetter(0))]
    paths: dict[str, Path] = {}
    frames = read_frames(video, (frame for frame, _ in wanted), faces.pts, limits)
    for frame, (_, face_ids) in zip(frames, wanted, strict=True):
        picture = frame.to_rgb()
        for face_id in face_ids:
            paths[face_id] = folder / f"{face_id}.jpg"
            paths[face_id].write_bytes(_jpeg(_portrait(picture, boxes[face_id])))
        on_each()
    return paths


def _box(faces: Faces, face: ShotFace) -> Box:
    x0, y0, x1, y1 = faces.boxes(face)[thumbnail_frame(face) - face.first].tolist()
    return x0, y0, x1, y1


def _portrait(picture: Image, box: Box) -> Image:
    """The face with some of what is around it, small."""
    x0, y0, x1, y1 = box
    across, down = round(_MARGIN * (x1 - x0)), round(_MARGIN * (y1 - y0))
    small, _ = shrink(picture[max(0, y0 - down) : y1 + down, max(0, x0 - across) : x1 + across], THUMBNAIL_SIDE)
    return small


def _jpeg(picture: Image) -> bytes:
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    return bytes(np.asarray(encoded).data)
