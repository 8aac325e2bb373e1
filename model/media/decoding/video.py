"""Video in: facts, and upright frames in any order, exact in index and time, in constant memory.

A frame's index counts the frames a decoder gives from the start of the file; its pts is its time in the stream's time
base, moved so that frame 0 is at 0. Every function here means the same frames by them.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from model.errors import NoVideoFrames
from model.media.decoding.container import open_media
from model.media.decoding.cursor import (
    VideoCursor,
    check_decoded_size,
    check_length,
    frame_rate,
    open_video_stream,
)
from model.media.decoding.source import MediaSource
from model.media.decoding.upright import quarter_turns, upright_picture
from model.media.frame import Frame
from model.plan import VideoFacts

_BLOCK_BYTES = 256 << 20
"""Memory for frames that are decoded forwards and given backwards."""

_MICROSECOND = Fraction(1, 1_000_000)
"""The time base of a container's own duration."""


def probe_video(source: MediaSource) -> VideoFacts:
    """Read what the container and the first frame say; refuse what is over the limits before it costs anything.

    `frames` and `duration_seconds` are the container's word; only a whole decoding pass knows.
    Raises NotMedia, NoVideoStream, NoVideoFrames, CorruptMedia, MediaTooLarge.
    """
    limits = source.limits
    with open_media(source) as container:
        stream = open_video_stream(container, limits)
        fps = frame_rate(stream)
        duration = _declared_duration(container, stream) or _measured_duration(container, stream, source)
        frames = stream.frames or round(duration * fps)
        check_length(limits, frames, duration)
        check_decoded_size(limits, frames, stream.codec_context.width * stream.codec_context.height)
        sound = next(iter(container.streams.audio), None)
        sound_start = _start_seconds(sound) if sound else None

    with VideoCursor(source) as cursor:
        first = cursor.read_raw()
        if first is None:
            raise NoVideoFrames("The video stream holds no frame that can be decoded.")
        picture, turned = upright_picture(first), quarter_turns(first)
        aspect = cursor.stream.sample_aspect_ratio or Fraction(1)
        return VideoFacts(
            width=picture.width,
            height=picture.height,
            rotation_degrees=90 * turned,
            fps=fps,
            frames=max(1, frames),
            duration_seconds=float(max(duration, 1 / fps)),
            time_base=cursor.time_base,
            codec=cursor.stream.codec_context.codec.canonical_name,
            pixel_format=first.format.name,
            color=picture.color,
            sample_aspect_ratio=1 / aspect if turned % 2 else aspect,
            has_audio=sound is not None,
            interlaced=bool(first.interlaced_frame),
            sound_start_seconds=0.0
            if sound_start is None
            else sound_start - float((first.pts or 0) * cursor.time_base),
        )


def decode_frames(source: MediaSource, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
    """Frames [start, stop) in order; to the end of the video without a stop.

    Raises NotMedia, NoVideoStream, NoVideoFrames, MediaTooLarge, and CorruptMedia, which also means that the video ends
    before `stop`.
    """
    with VideoCursor(source) as cursor:
        yield from cursor.frames(start, stop)


def decode_frames_in_order(
    source: MediaSource, indices: Iterable[int], source_pts: Sequence[int] = ()
) -> Iterator[Frame]:
    """Frames in the order of `indices`: any jumps, repeats and runs backwards, in bounded memory.

    source_pts: times of frames 0, 1, … as an earlier decoding pass gave them, as many as are known. With them a jump
    is a seek to the key frame before it; without them everything before a frame is decoded once first.
    Raises the errors of `decode_frames`.
    """
    last: Frame | None = None
    with VideoCursor(source, source_pts) as cursor:
        block = max(2, _BLOCK_BYTES // (3 * cursor.stream.width * cursor.stream.height))
        for run in _runs(indices, block):
            if last is not None and run == range(last.index, last.index + 1):
                yield last
            elif run.step > 0:
                for last in cursor.frames(run.start, run.stop):
                    yield last
            else:
                for last in reversed(list(cursor.frames(run[-1], run[0] + 1))):
                    yield last


def _runs(indices: Iterable[int], longest_backwards: int) -> Iterator[range]:
    """Cut a sequence into ranges that rise or fall by one; repeats become ranges of one."""
    run: range | None = None
    for index in indices:
        if run is None:
            run = range(index, index + 1)
        elif index == run[-1] + 1 and (len(run) == 1 or run.step == 1):
            run = range(run.start, index + 1)
        elif index == run[-1] - 1 and (len(run) == 1 or run.step == -1) and len(run) < longest_backwards:
            run = range(run.start, index - 1, -1)
        else:
            yield run
            run = range(index, index + 1)
    if run is not None:
        yield run


def _declared_duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Seconds as the file says, or None when it says nothing sensible."""
    if stream.duration and stream.duration > 0 and stream.time_base:
        return stream.duration * stream.time_base
    if container.duration and container.duration > 0:
        return container.duration * _MICROSECOND
    return None


def _start_seconds(stream: AudioStream) -> float | None:
    """When a stream begins, in seconds of the file's own clock, as far as the file says."""
    return None if stream.start_time is None or not stream.time_base else float(stream.start_time * stream.time_base)


def _measured_duration(container: InputContainer, stream: VideoStream, source: MediaSource) -> Fraction:
    """Seconds from the first packet's time to the end of the last, without decoding."""
    time_base = stream.time_base or Fraction(0)
    times: tuple[int, int] | None = None
    for count, packet in enumerate(container.demux(stream), start=1):
        source.pulse()
        if packet.pts is None:
            continue
        end = packet.pts + (packet.duration or 0)
        first, last = times or (packet.pts, end)
        times = min(first, packet.pts), max(last, end)
        check_length(source.limits, count, (times[1] - times[0]) * time_base)
    return (times[1] - times[0]) * time_base if times else Fraction(0)
