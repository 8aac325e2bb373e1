"""What a dub would meet, told before any network of ours runs: facts, shots, faces, and what may go wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from model.errors import (
    EncoderUnavailable,
    FaceTrackNotFound,
    ModelError,
    NoFaceAtPoint,
    NoFaceFound,
    SegmentNotInVideo,
)
from model.faces.thumbnails import thumbnail_frame
from model.faces.track import Faces, ShotFace
from model.media.writer import check_encoder
from model.plan import AUTO, AudioFacts, VideoFacts
from model.survey import Survey, lay_out, parts

MAX_FACES = 50
MAX_SHOTS = 200
"""A report is for people and stands in the job's record: it names the largest faces and the first shots."""

_SMALL_FACE = 64.0
"""Faces less high, px, have too few of them for a mouth."""

_TURNED = 0.5
"""`Detection.turn` from which on a face counts as seen from the side."""

_QUIET_PEAK = 0.01
"""-40 dBFS: a voice that never gets louder is rather the noise of a microphone."""

_MISMATCH_SECONDS = 0.2
_STEADY = 0.2
"""Frames whose times from one to the next differ by no more than this share of the usual one have a constant rate."""


class WarningCode(StrEnum):
    """What may go wrong. The first five are the errors that a dub of these inputs would end with."""

    NO_FACE_FOUND = "no_face_found"
    FACE_TRACK_NOT_FOUND = "face_track_not_found"
    NO_FACE_AT_POINT = "no_face_at_point"
    ENCODER_UNAVAILABLE = "encoder_unavailable"
    SEGMENT_NOT_IN_VIDEO = "segment_not_in_video"
    NO_FACE_IN_SEGMENT = "no_face_in_segment"
    SMALL_FACE = "small_face"
    ENLARGED_MOUTH = "enlarged_mouth"
    PROFILE_FACE = "profile_face"
    SEVERAL_FACES = "several_faces"
    SILENT_AUDIO = "silent_audio"
    QUIET_AUDIO = "quiet_audio"
    LENGTH_MISMATCH = "length_mismatch"
    VARIABLE_FRAME_RATE = "variable_frame_rate"
    INTERLACED = "interlaced"


_REFUSALS: dict[type[ModelError], WarningCode] = {
    NoFaceFound: WarningCode.NO_FACE_FOUND,
    FaceTrackNotFound: WarningCode.FACE_TRACK_NOT_FOUND,
    NoFaceAtPoint: WarningCode.NO_FACE_AT_POINT,
    EncoderUnavailable: WarningCode.ENCODER_UNAVAILABLE,
    SegmentNotInVideo: WarningCode.SEGMENT_NOT_IN_VIDEO,
}


@dataclass(frozen=True, slots=True)
class PreflightWarning:
    """One thing that may go wrong, in words for the user. faces: the ids it is about, if it is about any."""

    code: WarningCode
    message: str
    faces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shot:
    """A run [first, stop) of source frames between two cuts, and when it begins."""

    first: int
    stop: int
    start_seconds: float


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face through one shot. frames: how many of the shot's frames show it; width, height: medians, px.

    profile: in which share of its sightings it is seen from the side, None when the detector does not tell.
    thumbnail_frame: the source frame to show it by.
    """

    id: str
    shot: int
    first: int
    stop: int
    frames: int
    width: float
    height: float
    profile: float | None
    thumbnail_frame: int


@dataclass(frozen=True, slots=True)
class Preflight:
    """The report. `frames` and `duration_seconds` are those that were really decoded.

    shots: the first MAX_SHOTS. faces: the MAX_FACES largest, in the order of the clip. frames_to_render is what the
    device will be busy with.
    """

    video: VideoFacts
    audio: AudioFacts | None
    frames: int
    frames_with_face: int
    frames_to_render: int
    duration_seconds: float
    shots: tuple[Shot, ...]
    shots_total: int
    faces: tuple[SeenFace, ...]
    faces_total: int
    warnings: tuple[PreflightWarning, ...]


def preflight(found: Survey, crop_size: int) -> Preflight:
    """Report on a survey. crop_size: side of the pictures the networks make, px. Raises MediaTooLarge."""
    faces = found.faces
    frames_to_render, prospects = _outlook(found)
    seen = tuple(_seen(faces, face) for face in reported_faces(faces))
    return Preflight(
        video=found.media.video,
        audio=found.media.audio,
        frames=len(faces.pts),
        frames_with_face=int(faces.auto.any(axis=1).sum()),
        frames_to_render=frames_to_render,
        duration_seconds=found.duration_seconds,
        shots=tuple(_shot(faces, *shot) for shot in faces.shots[:MAX_SHOTS]),
        shots_total=len(faces.shots),
        faces=seen,
        faces_total=len(faces.faces),
        warnings=(*prospects, *_face_warnings(seen, found, crop_size), *_media_warnings(found)),
    )


def reported_faces(faces: Faces) -> tuple[ShotFace, ...]:
    """The faces that a report names: those with the largest area over their shots, in the order of the clip."""
    largest = sorted(faces.faces, key=lambda face: face.track.area, reverse=True)[:MAX_FACES]
    return tuple(sorted(largest, key=lambda face: (face.shot, face.rank)))


def _outlook(found: Survey) -> tuple[int, tuple[PreflightWarning, ...]]:
    """How many frames a dub would render, and why it would be refused, or what of it would not be rendered."""
    try:
        check_encoder(found.options.output.codec)
        _, segments = lay_out(found)
    except tuple(_REFUSALS) as error:
        return 0, (PreflightWarning(_REFUSALS[type(error)], str(error)),)
    faceless = set(range(len(found.options.passages))) - {segment.voice for segment in segments}
    return sum(segment.frames - segment.overlap for segment in segments), tuple(
        PreflightWarning(
            WarningCode.NO_FACE_IN_SEGMENT, f"No frame of segment {number} shows the face: only its sound changes."
        )
        for number in sorted(faceless)
    )


def _shot(faces: Faces, first: int, stop: int) -> Shot:
    return Shot(first, stop, float(faces.pts[first] * faces.facts.time_base))


def _seen(faces: Faces, face: ShotFace) -> SeenFace:
    width, height = np.median(face.track.boxes[:, 2:], axis=0).tolist()
    turns = face.track.turns
    return SeenFace(
        id=face.id,
        shot=face.shot,
        first=face.first,
        stop=face.stop,
        frames=int(faces.boxes(face).any(axis=1).sum()),
        width=width,
        height=height,
        profile=None if np.isnan(turns).any() else float((turns > _TURNED).mean()),
        thumbnail_frame=thumbnail_frame(face),
    )


def _face_warnings(seen: tuple[SeenFace, ...], found: Survey, crop_size: int) -> Iterator[PreflightWarning]:
    """What to know of the faces that would be dubbed, and that there are others."""
    chosen, shared = _choice(found)
    dubbed = [face for face in seen if face.id in chosen]
    if small := tuple(face.id for face in dubbed if face.height < _SMALL_FACE):
        message = f"The face is less than {_SMALL_FACE:g} px high: its mouth has too few pixels to be convincing."
        yield PreflightWarning(WarningCode.SMALL_FACE, message, small)
    if large := tuple(face.id for face in dubbed if face.height > crop_size):
        message = (
            f"The face is higher than the {crop_size} px that are generated: its mouth will be softer than the rest."
        )
        yield PreflightWarning(WarningCode.ENLARGED_MOUTH, message, large)
    if turned := tuple(face.id for face in dubbed if face.profile is not None and face.profile > 0.5):
        message = "The face is mostly seen from the side, turned by more than about 45 degrees."
        yield PreflightWarning(WarningCode.PROFILE_FACE, message, turned)
    if shared:
        message = "A shot shows several faces; `auto` dubs the one largest over the whole shot."
        ids = tuple(face.id for face in seen if face.shot in shared)
        yield PreflightWarning(WarningCode.SEVERAL_FACES, message, ids)


def _choice(found: Survey) -> tuple[frozenset[str], frozenset[int]]:
    """The faces that would be dubbed, and the shots in which AUTO passes others by.

    None when the choice itself is at fault, which `_outlook` tells.
    """
    chosen: set[str] = set()
    shared: set[int] = set()
    try:
        for part in parts(found):
            there = {face.id: face for face in found.faces.faces if face.first < part.stop and part.first < face.stop}
            mine = {face.id for face in found.faces.chosen(part.face)} & there.keys()
            chosen |= mine
            if part.face == AUTO:
                shared |= {face.shot for face_id, face in there.items() if face_id not in mine}
    except tuple(_REFUSALS):
        return frozenset(), frozenset()
    return frozenset(chosen), frozenset(shared)


def _media_warnings(found: Survey) -> Iterator[PreflightWarning]:
    """What to know of the files."""
    yield from _voice_warnings(found)
    if _is_variable(found.faces.pts):
        message = (
            "The frames do not come at a constant rate. Their times are kept, but many editors do not expect them."
        )
        yield PreflightWarning(WarningCode.VARIABLE_FRAME_RATE, message)
    if found.media.video.interlaced:
        message = "The video is interlaced: both fields of a frame get one mouth. Deinterlace it first."
        yield PreflightWarning(WarningCode.INTERLACED, message)


def _voice_warnings(found: Survey) -> Iterator[PreflightWarning]:
    """What to know of the dub's voice, and of the voices of its segments."""
    if found.audio_path is not None:
        yield from _level_warnings("The voice", found.media.audio)
    if not found.options.passages and found.media.audio is not None:
        yield from _length_warnings("The video", found.duration_seconds, found.media.audio, "; see `sync_mode`")
    for number, (passage, audio) in enumerate(zip(found.options.passages, found.media.passages, strict=True)):
        if passage.audio_path is not None:
            yield from _level_warnings(f"The voice of segment {number}", audio)
            lasts = passage.end_seconds - passage.start_seconds
            if audio is not None:
                yield from _length_warnings(f"Segment {number}", lasts, audio, ": it is cut, or silence follows it")


def _level_warnings(whose: str, audio: AudioFacts | None) -> Iterator[PreflightWarning]:
    if audio is None:
        yield PreflightWarning(WarningCode.SILENT_AUDIO, f"{whose} holds no sound at all: every sample is zero.")
    elif audio.peak < _QUIET_PEAK:
        message = f"{whose} never gets louder than {20 * np.log10(audio.peak):.0f} dBFS: is it the right track?"
        yield PreflightWarning(WarningCode.QUIET_AUDIO, message)


def _length_warnings(what: str, lasts_seconds: float, audio: AudioFacts, so: str) -> Iterator[PreflightWarning]:
    if abs(audio.duration_seconds - lasts_seconds) > _MISMATCH_SECONDS:
        message = f"{what} lasts {lasts_seconds:.2f} s and the voice {audio.duration_seconds:.2f} s{so}."
        yield PreflightWarning(WarningCode.LENGTH_MISMATCH, message)


def _is_variable(pts: tuple[int, ...]) -> bool:
    """Whether the steps between frames differ by more than rounding to the clock's ticks explains."""
    steps = np.diff(np.array(pts, np.int64))
    return bool(steps.size) and bool(np.ptp(steps) > max(2.0, _STEADY * float(np.median(steps))))
