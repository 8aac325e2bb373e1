"""One look at the inputs of a dub, and what follows from it: the plan, or a report for people (`model.preflight`)."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from model.errors import NoAudioStream, NoFaceFound, SegmentNotInVideo
from model.faces.detector import FaceDetector
from model.faces.track import Faces
from model.media.reader import VideoReader
from model.media.writer import check_encoder
from model.plan import AudioFacts, DubOptions, DubPlan, FaceChoice, MediaLimits, Passage, Segment, SyncMode, Voice
from model.progress import OnProgress, Stage, StageProgress, ignore_progress
from model.segments import plan_segments
from model.stages.decode_media import MediaFacts, decode_media
from model.stages.track_faces import track_faces
from model.timeline import Timeline, plan_timeline

_ROUNDED_SECONDS = 0.001
"""How far a passage may end after the video: people and JSON round durations."""


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What the inputs are and which faces they show. Holds numbers only; no network of ours has run."""

    video_path: Path
    audio_path: Path | None
    media: MediaFacts
    faces: Faces
    options: DubOptions
    limits: MediaLimits

    @property
    def duration_seconds(self) -> float:
        """How long the video lasts, as really decoded."""
        return float(Fraction(self.faces.duration) * self.faces.facts.time_base)


@dataclass(frozen=True, slots=True)
class Part:
    """A run [first, stop) of source frames that is to be dubbed, whose face, and with which voice.

    audio: None when there is no voice, or none that can be heard. audio_path: None when there is none. passage: the
    number of the passage, None for the whole video.
    """

    first: int
    stop: int
    face: FaceChoice
    audio_path: Path | None
    audio: AudioFacts | None
    passage: int | None = None
    skip_seconds: float = 0.0


def survey(
    video_path: Path,
    audio_path: Path | None,
    options: DubOptions,
    limits: MediaLimits,
    detector: FaceDetector,
    *,
    may_be_silent: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> Survey:
    """Decode all files once and follow every face. Without a voice the video alone is looked at.

    Raises the MediaErrors of what is wrong with the files; `may_be_silent` makes one of them a finding.
    """
    on_progress(StageProgress(Stage.DECODE_MEDIA, 0, 1))
    media = decode_media(video_path, audio_path, limits, options.passages, may_be_silent=may_be_silent)
    on_progress(StageProgress(Stage.DECODE_MEDIA, 1, 1))
    frames = VideoReader(video_path, limits).frames()
    faces = track_faces(frames, media.video, detector, options.geometry, on_progress)
    return Survey(video_path, audio_path, media, faces, options, limits)


def parts(found: Survey) -> tuple[Part, ...]:
    """What is to be dubbed: the passages, or the whole video. Raises SegmentNotInVideo."""
    if not found.options.passages:
        return (Part(0, len(found.faces.pts), found.options.face, found.audio_path, found.media.audio),)
    return tuple(_part(found, number, passage) for number, passage in enumerate(found.options.passages))


def _part(found: Survey, number: int, passage: Passage) -> Part:
    lasts = found.duration_seconds
    if passage.end_seconds > lasts + _ROUNDED_SECONDS:
        raise SegmentNotInVideo(f"Segment {number} ends at {passage.end_seconds:g} s, the video at {lasts:g} s.")
    first, stop = (_nearest_frame(found.faces, at) for at in (passage.start_seconds, passage.end_seconds))
    if first == stop:
        raise SegmentNotInVideo(f"Segment {number} is too short: it holds no frame.")
    face = found.options.face if passage.face is None else passage.face
    if passage.audio_path is not None:
        return Part(first, stop, face, passage.audio_path, found.media.passages[number], number)
    skip = float(found.faces.pts[first] * found.faces.facts.time_base)
    return Part(first, stop, face, found.audio_path, found.media.audio, number, skip)


def _nearest_frame(faces: Faces, seconds: float) -> int:
    """The frame that begins nearest to a time; the number of frames when the end of the video is nearer."""
    ticks = Fraction(seconds) / faces.facts.time_base
    after = bisect_left(faces.pts, ticks)
    if after == 0:
        return 0
    next_pts = faces.pts[after] if after < len(faces.pts) else faces.duration
    return after - 1 if ticks - faces.pts[after - 1] < next_pts - ticks else after


def lay_out(found: Survey) -> tuple[Timeline, tuple[Segment, ...]]:
    """When each source frame is shown, and what is rendered. Without a voice the whole video is.

    Raises NoFaceFound when no output frame shows the face, FaceTrackNotFound, NoFaceAtPoint, SegmentNotInVideo,
    MediaTooLarge.
    """
    to_dub = parts(found)
    tracks = [found.faces.follow(part.face) for part in to_dub]
    timeline = _timeline(found)
    segments: list[Segment] = []
    for voice, (part, track) in enumerate(zip(to_dub, tracks, strict=True)):
        first, stop = (0, len(timeline.pts)) if part.passage is None else (part.first, part.stop)
        for segment in plan_segments(timeline.source_frames[first:stop], track, found.options.geometry):
            moved = replace(segment, first=segment.first + first, stop=segment.stop + first)
            segments.append(replace(moved, index=len(segments), voice=voice))
    if not segments:
        raise NoFaceFound("No frame of the dubbed part shows the face.")
    return timeline, tuple(segments)


def _timeline(found: Survey) -> Timeline:
    """The source frames along the output; passages leave all of them where they are."""
    audio = found.media.audio
    return plan_timeline(
        found.faces.pts,
        found.faces.duration,
        found.media.video.time_base,
        audio.duration_seconds if audio else found.duration_seconds,
        SyncMode.SILENCE if found.options.passages else found.options.sync_mode,
        max_frames=found.limits.max_frames,
    )


def plan_dub(found: Survey) -> DubPlan:
    """Decide everything that can be decided before a network of ours runs. Raises the errors of `lay_out`,
    NoAudioStream without a voice, EncoderUnavailable."""
    check_encoder(found.options.output.codec)
    timeline, segments = lay_out(found)
    return DubPlan(
        video_path=found.video_path,
        video=found.media.video,
        options=found.options,
        source_frames=timeline.source_frames,
        pts=timeline.pts,
        duration_seconds=timeline.duration_seconds,
        shots=found.faces.shots,
        segments=segments,
        limits=found.limits,
        voices=tuple(_voices(found, len(timeline.pts))),
        keeps_sound=found.media.keeps_sound,
    )


def _voices(found: Survey, frames: int) -> Iterator[Voice]:
    for part in parts(found):
        if part.audio_path is None or part.audio is None:
            raise NoAudioStream("There is no voice to dub with.")
        first, stop = (0, frames) if part.passage is None else (part.first, part.stop)
        yield Voice(part.audio_path, first, stop, part.skip_seconds)
