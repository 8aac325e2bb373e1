"""Looks through one video for passages to train on, and cuts them out."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.audio.log_mel import SAMPLE_RATE_HZ
from model.errors import MediaError
from model.faces.detector import FaceDetector
from model.faces.track import Faces, ShotFace
from model.media.audio import read_audio_mono_16k
from model.media.reader import VideoReader, probe_video, read_frames
from model.plan import Box, Geometry, MediaLimits
from model.stages.crop_faces import crop_faces
from model.stages.track_faces import track_faces
from model.training.shards import FPS

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS

_SHARPNESS_SIZE = 256
_SHARPNESS_LOOKS = 8


class Reason(StrEnum):
    """Why something is not trained on."""

    UNREADABLE = "unreadable"
    NO_SOUND = "no_sound"
    LOW_FRAME_RATE = "low_frame_rate"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    TOO_SHORT = "too_short"
    SMALL_FACE = "small_face"
    CHANGING_SIZE = "changing_size"
    TURNED_AWAY = "turned_away"
    BLURRED = "blurred"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Filters:
    """What is trained on.

    min_seconds, max_seconds : of a clip; a longer passage gives several, as long as each other
    min_fps                  : of the video
    min_face_height          : forehead to chin, px of the video
    max_other_height         : of any other face of the shot, as a share of the speaker's
    max_size_change          : of the box within a passage; it has one height unless the camera moves in or out
    max_turn                 : see `Detection.turn`; only YuNet tells
    min_sharpness            : variance of the Laplacian of the crop at 256 px, grey in [0, 255]
    min_loudness_db          : of the sound of a clip, below full scale
    """

    min_seconds: float = 2.0
    max_seconds: float = 5.0
    min_fps: float = 23.0
    min_face_height: float = 160.0
    max_other_height: float = 0.5
    max_size_change: float = 1.02
    max_turn: float = 0.45
    min_sharpness: float = 8.0
    min_loudness_db: float = -50.0


@dataclass(frozen=True, slots=True)
class Drop:
    """A part of a video that is left out, and why. detail: the figure, or the error. end_seconds: None: all of it.

    is_of_clip: the passage was cut before it was found unfit.
    """

    reason: Reason
    detail: str
    start_seconds: float = 0.0
    end_seconds: float | None = None
    is_of_clip: bool = False


@dataclass(frozen=True, slots=True)
class Passage:
    """A clip to be cut: which source frame each of its frames shows, 25 a second, and its box in each."""

    path: Path
    start_seconds: float
    source_frames: tuple[int, ...]
    boxes: tuple[Box, ...]
    source_pts: tuple[int, ...]
    sound_start_seconds: float


@dataclass(frozen=True, slots=True)
class Survey:
    """What one video holds."""

    passages: tuple[Passage, ...]
    dropped: tuple[Drop, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A passage as a clip: frames (F, S, S, 3) uint8 RGB, audio (F * 640,) int16 mono 16 kHz."""

    frames: NDArray[np.uint8]
    audio: NDArray[np.int16]


def survey(path: Path, filters: Filters, detector: FaceDetector, limits: MediaLimits) -> Survey:
    """Follow the faces of a video through its shots and choose what to cut. A file that is no video is a finding."""
    try:
        facts = probe_video(path, limits)
        if not facts.has_audio:
            return Survey((), (Drop(Reason.NO_SOUND, "no audio stream"),))
        if facts.fps < filters.min_fps:
            return Survey((), (Drop(Reason.LOW_FRAME_RATE, f"{float(facts.fps):.2f} fps"),))
        frames = VideoReader(path, limits).frames()
        faces = track_faces(frames, facts, detector, Geometry.TRACKED)
    except MediaError as error:
        return Survey((), (Drop(Reason.UNREADABLE, str(error)),))
    found = [one for shot in range(len(faces.shots)) for one in _look_at_shot(path, faces, shot, filters)]
    passages = tuple(one for one in found if isinstance(one, Passage))
    return Survey(passages, tuple(one for one in found if isinstance(one, Drop)))


def _look_at_shot(path: Path, faces: Faces, shot: int, filters: Filters) -> Iterator[Passage | Drop]:
    """The passages of one shot, and what of it is left out."""
    first, stop = faces.shots[shot]
    seen = [face for face in faces.faces if face.shot == shot]
    if not seen:
        yield _drop(faces, first, stop, Reason.NO_FACE, "no face")
        return
    speaker, others = seen[0], seen[1:]
    share = max((_height(other) / _height(speaker) for other in others), default=0.0)
    if share > filters.max_other_height:
        yield _drop(faces, first, stop, Reason.SEVERAL_FACES, f"{len(seen)} faces, the next {share:.2f} times as high")
        return
    boxes = faces.boxes(speaker)
    for begin, end in _runs(np.asarray(boxes.any(axis=1))):
        yield from _look_at_run(path, faces, speaker, (begin + first, end + first), boxes[begin:end], filters)


def _look_at_run(
    path: Path, faces: Faces, speaker: ShotFace, run: tuple[int, int], boxes: NDArray[np.int32], filters: Filters
) -> Iterator[Passage | Drop]:
    """The passages of a run of frames that show the speaker."""
    start, end = (_seconds(faces, frame) for frame in run)
    frames = math.floor((end - start) * FPS + 1e-6)
    heights = boxes[:, 3] - boxes[:, 1]
    face_height = float(np.median(heights)) / 1.1
    change = float(heights.max() / heights.min())
    turn = float(np.nanmedian(speaker.track.turns)) if np.isfinite(speaker.track.turns).any() else 0.0
    if frames < filters.min_seconds * FPS:
        yield _drop(faces, *run, Reason.TOO_SHORT, f"{end - start:.2f} s")
    elif face_height < filters.min_face_height:
        yield _drop(faces, *run, Reason.SMALL_FACE, f"{face_height:.0f} px")
    elif change > filters.max_size_change:
        yield _drop(faces, *run, Reason.CHANGING_SIZE, f"{change:.2f} times")
    elif turn > filters.max_turn:
        yield _drop(faces, *run, Reason.TURNED_AWAY, f"turn {turn:.2f}")
    else:
        pieces = math.ceil(frames / (filters.max_seconds * FPS))
        borders = [frames * piece // pieces for piece in range(pieces + 1)]
        for piece_start, piece_stop in pairwise(borders):
            times = [start + frame / FPS for frame in range(piece_start, piece_stop)]
            shown = [_frame_at(faces, time) for time in times]
            yield Passage(
                path=path,
                start_seconds=times[0],
                source_frames=tuple(shown),
                boxes=tuple(_box(boxes[frame - run[0]]) for frame in shown),
                source_pts=faces.pts,
                sound_start_seconds=faces.facts.sound_start_seconds,
            )


def cut(passage: Passage, size: int, filters: Filters, limits: MediaLimits) -> Cut | Drop:
    """Cut a passage out of its video, or say why it is not fit after all."""
    frames = len(passage.source_frames)
    end = passage.start_seconds + frames / FPS
    try:
        pictures = read_frames(passage.path, passage.source_frames, passage.source_pts, limits)
        crops = crop_faces((picture.to_rgb() for picture in pictures), passage.boxes, size)
        sound = _sound(passage.path, limits)
    except MediaError as error:
        return Drop(Reason.UNREADABLE, str(error), passage.start_seconds, end, is_of_clip=True)
    sharp = sharpness(crops)
    if sharp < filters.min_sharpness:
        return Drop(Reason.BLURRED, f"sharpness {sharp:.0f}", passage.start_seconds, end, is_of_clip=True)
    audio = _part(sound, passage.start_seconds - passage.sound_start_seconds, frames * SAMPLES_PER_FRAME)
    loudness = 20.0 * math.log10(max(float(np.sqrt(np.mean(audio**2))), 1e-9))
    if loudness < filters.min_loudness_db:
        return Drop(Reason.SILENT, f"{loudness:.0f} dB", passage.start_seconds, end, is_of_clip=True)
    return Cut(crops, np.clip(np.rint(audio * 32768.0), -32768, 32767).astype(np.int16))


def sharpness(crops: NDArray[np.uint8]) -> float:
    """Median over some of the crops (F, S, S, 3) of how much of the finest detail there is; see Filters."""
    chosen = crops[:: max(1, len(crops) // _SHARPNESS_LOOKS)]
    small = (cv2.resize(crop, (_SHARPNESS_SIZE, _SHARPNESS_SIZE), interpolation=cv2.INTER_AREA) for crop in chosen)
    detail = [cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var() for crop in small]
    return float(np.median(detail))


@lru_cache(maxsize=1)
def _sound(path: Path, limits: MediaLimits) -> NDArray[np.float32]:
    """The sound of a video; the passages of one video follow each other."""
    return read_audio_mono_16k(path, limits)


def _part(sound: NDArray[np.float32], start_seconds: float, length: int) -> NDArray[np.float32]:
    """So many samples from a time on, silence where there are none."""
    first = round(start_seconds * SAMPLE_RATE_HZ)
    part = sound[max(first, 0) : max(first + length, 0)]
    before = min(max(-first, 0), length)
    return np.pad(part, (before, length - before - len(part)))


def _drop(faces: Faces, first: int, stop: int, reason: Reason, detail: str) -> Drop:
    return Drop(reason, detail, _seconds(faces, first), _seconds(faces, stop))


def _height(face: ShotFace) -> float:
    return float(np.median(face.track.boxes[:, 3]))


def _seconds(faces: Faces, frame: int) -> float:
    """When a frame begins; for the number of frames, when the last one ends."""
    pts = faces.pts[frame] if frame < len(faces.pts) else faces.duration
    return float(pts * faces.facts.time_base)


def _frame_at(faces: Faces, seconds: float) -> int:
    """The frame that is shown at a time."""
    ticks = (seconds + 1e-6) / float(faces.facts.time_base)
    return max(0, bisect_right(faces.pts, ticks) - 1)


def _runs(present: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[begin, end) of each run of frames that show the face."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _box(row: Sequence[int] | NDArray[np.int32]) -> Box:
    x0, y0, x1, y1 = (int(value) for value in row)
    return x0, y0, x1, y1
