"""A place in a video: decodes forwards from wherever it is moved, and knows which frame comes next."""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import Self

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from model.errors import CorruptMedia, MediaTooLarge, NoVideoFrames, NoVideoStream
from model.media.decoding.container import open_media
from model.media.decoding.source import MediaSource
from model.media.decoding.upright import quarter_turns, upright_picture
from model.media.frame import Frame
from model.plan import MediaLimits

_SEEK_WORTHWHILE_FRAMES = 128
"""Frames ahead that are sooner decoded and dropped than sought."""

_SEEK_BACK_SECONDS = (0, 2, 10, 60)
"""How long before a wanted frame to look for a key frame from which it decodes exactly."""

_TS_DISCONT = 0x0200
"""AVFMT_TS_DISCONT: files of this format may start their clocks again."""

_FALLBACK_FPS = Fraction(25)
_HIGHEST_FPS = 1000

_FPS_TOLERANCE = 1.1
"""How many times the allowed frames a second may hold."""

_BYTES_PER_PIXEL = Fraction(3, 2)
"""Of 4:2:0, whatever the video's own format: the limit counts pictures, not their precision."""


class VideoCursor:
    """One open video. A context manager; raises the MediaErrors of what is wrong with the file.

    source_pts: times of frames 0, 1, … as far as known. They make a jump a seek; the rest is learnt while decoding.
    """

    stream: VideoStream
    time_base: Fraction

    def __init__(self, source: MediaSource, source_pts: Sequence[int] = ()) -> None:
        self._source = source
        self._limits = source.limits
        self._known_pts = array("q", source_pts)
        self._shape: tuple[int, int, bool] | None = None
        self._files = ExitStack()

    def __enter__(self) -> Self:
        self._rewind()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def frames(self, start: int, stop: int | None) -> Iterator[Frame]:
        """Frames [start, stop) in order, or to the end of the video. CorruptMedia when it ends before `stop`."""
        self._move_to(start)
        while stop is None or self._position < stop:
            index, raw = self._position, self.read_raw()
            if raw is None and stop is None:
                return
            if raw is None:
                raise CorruptMedia(f"The video ends before frame {index}.")
            pts = self._clock.now
            yield Frame(index, pts, self._duration(raw), float(pts * self.time_base), upright_picture(raw))

    def read_raw(self) -> av.VideoFrame | None:
        """Take the next frame as the decoder gives it, checked against the limits and timed; None at the end."""
        try:
            raw = next(self._decoded, None)
        except ArgumentError as fault:  # how a decoder refuses a picture over its `max_pixels`
            raise MediaTooLarge(f"The video holds a picture of more than {self._limits.max_pixels} pixels.") from fault
        if raw is None:
            if self._position == 0:
                raise NoVideoFrames("The video stream holds no frame that can be decoded.")
            return None
        self._source.pulse()
        pts = self._clock.tick(raw.pts)
        self._check(raw, pts)
        if self._position == len(self._known_pts):
            self._known_pts.append(pts)
            self._check_density()
        self._position += 1
        return raw

    def _check(self, raw: av.VideoFrame, pts: int) -> None:
        shape = (raw.width, raw.height, quarter_turns(raw) % 2 == 1)
        self._shape = self._shape or shape
        if shape != self._shape:
            raise CorruptMedia(f"The picture changes its size at frame {self._position}.")
        frames = self._position + 1
        check_length(self._limits, frames, (pts + self._duration(raw)) * self.time_base)
        check_decoded_size(self._limits, frames, raw.width * raw.height)

    def _check_density(self) -> None:
        """Raise MediaTooLarge when the second before the newest frame holds more frames than may be."""
        most = max(1, int(self._limits.max_fps * _FPS_TOLERANCE))
        times = self._known_pts
        if len(times) > most and (times[-1] - times[-1 - most]) * self.time_base < 1:
            raise MediaTooLarge(f"The video has more than {self._limits.max_fps} frames in a second.")

    def _duration(self, raw: av.VideoFrame) -> int:
        return raw.duration if raw.duration and raw.duration > 0 else self._clock.step

    def _rewind(self) -> None:
        """Open the file anew: frame 0 is next."""
        self._files.close()
        self._container = self._files.enter_context(open_media(self._source))
        self.stream = open_video_stream(self._container, self._limits)
        self.time_base = self.stream.time_base or 1 / _FALLBACK_FPS
        self._decoded: Iterator[av.VideoFrame] = self._container.decode(self.stream)
        self._clock = _Clock(self.time_base, frame_rate(self.stream))
        self._position = 0

    def _move_to(self, index: int) -> None:
        """Make `index` the next frame."""
        if not 0 <= index - self._position <= _SEEK_WORTHWHILE_FRAMES:
            self._jump(index)
        while self._position < index:
            if self.read_raw() is None:
                raise CorruptMedia(f"The video ends before frame {index}.")

    def _jump(self, index: int) -> None:
        """Go to frame `index`; where no seek is exact, back to the start if `index` is behind us."""
        if index < len(self._known_pts) and self._times_are_unique():
            if self._position == 0:
                self.read_raw()
            pts = self._known_pts[index]
            for seconds in _SEEK_BACK_SECONDS:
                if self._seek(self._clock.origin + pts, round(seconds / self.time_base)):
                    self._clock.resume_at(pts)
                    self._position = index
                    return
            self._rewind()
        elif index < self._position:
            self._rewind()

    def _times_are_unique(self) -> bool:
        """Whether a time names one frame, as in every format but those of broadcast."""
        return not self._container.format.flags & _TS_DISCONT

    def _seek(self, raw_pts: int, ticks_before: int) -> bool:
        """Go to the frame with this time through a key frame found from `ticks_before` it.

        False when that is not possible exactly: frames before the first key frame shown may lack what they build on.
        """
        try:
            self._container.seek(raw_pts - ticks_before, stream=self.stream)
        except FFmpegError:
            return False
        decoded: Iterator[av.VideoFrame] = self._container.decode(self.stream)
        key_frame_seen = False
        for raw in decoded:
            self._source.pulse()
            if raw.pts is None or raw.pts > raw_pts:
                return False
            key_frame_seen = key_frame_seen or raw.key_frame
            if raw.pts == raw_pts:
                self._decoded = chain([raw], decoded)
                return key_frame_seen
        return False


class _Clock:
    """Frame times from 0 on, strictly increasing, whatever the file says."""

    def __init__(self, time_base: Fraction, fps: Fraction) -> None:
        self.step = max(1, round(1 / (fps * time_base)))
        self.origin = 0
        self.now = -1
        self._second = round(1 / time_base)
        self._shift = 0

    def tick(self, raw_pts: int | None) -> int:
        """Time of the next frame. raw_pts: what the file says, or None when it is silent."""
        if self.now < 0:
            self.origin, self.now = raw_pts or 0, 0
            return 0
        pts = self.now + self.step if raw_pts is None else raw_pts - self.origin + self._shift
        if pts <= self.now - self._second:  # the file's clock started again
            self._shift += self.now + self.step - pts
            pts = self.now + self.step
        self.now = max(pts, self.now + 1)
        return self.now

    def resume_at(self, pts: int) -> None:
        """Make `pts` a time that may come next."""
        self.now = pts - 1


def open_video_stream(container: InputContainer, limits: MediaLimits) -> VideoStream:
    """The video stream of a file, ready to decode: threaded, and refusing pictures over the limit.

    Raises NoVideoStream (cover art is none), CorruptMedia when there is no decoder for it, MediaTooLarge.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise NoVideoStream("The file has no video stream.")
    stream = next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
    context: VideoCodecContext | None = stream.codec_context
    if context is None:
        raise CorruptMedia("The video's codec is not known.")
    if context.width * context.height > limits.max_pixels:
        raise MediaTooLarge(
            f"The picture has {context.width}x{context.height} pixels; {limits.max_pixels} in all may be."
        )
    context.thread_type = ThreadType.AUTO
    context.options = {"max_pixels": str(limits.max_pixels)}
    return stream


def frame_rate(stream: VideoStream) -> Fraction:
    """Frames per second as the file says, or 25 when it says nothing sensible."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= _HIGHEST_FPS:
            return rate
    return _FALLBACK_FPS


def check_length(limits: MediaLimits, frames: int, duration_seconds: Fraction) -> None:
    """Raise MediaTooLarge when there are more frames, or more seconds, than may be."""
    if frames > limits.max_frames:
        raise MediaTooLarge(f"The video has more than {limits.max_frames} frames.")
    if duration_seconds > limits.max_duration_seconds:
        raise MediaTooLarge(f"The video is longer than {limits.max_duration_seconds:g} seconds.")


def check_decoded_size(limits: MediaLimits, frames: int, pixels: int) -> None:
    """Raise MediaTooLarge when so many pictures of so many pixels are more bytes than may be decoded."""
    if frames * pixels * _BYTES_PER_PIXEL > limits.max_decoded_bytes:
        raise MediaTooLarge(f"The video decodes to more than {limits.max_decoded_bytes} bytes.")
