"""Video out: one encode, every frame at its own time."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import cast

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from model.errors import EncoderUnavailable
from model.media.picture import Picture, picture_to_frame, pixel_format, working_subsampling
from model.plan import Container, Output, VideoCodec, VideoFacts

_NO_B_FRAMES = "0"
"""Without B-frames the order of the file is the order of display: a frame's duration in the file is its own, and
players that do not know edit lists keep picture and sound together."""


@dataclass(frozen=True, slots=True)
class _Encoder:
    """One of FFmpeg's encoders. formats: the pixel format it gets, by chroma subsampling of the pictures.

    crf: as close to the source as one encode needs to be, None when the encoder has no such number.
    """

    name: str
    options: Mapping[str, str]
    formats: Mapping[int, str]
    crf: int | None = None
    tag: str | None = None


_WORKING_FORMATS = {subsampling: pixel_format(subsampling) for subsampling in (1, 2)}

_ENCODERS = {
    # crf 14: like preset medium at crf 16 (luma PSNR 49 dB on 1080p), and two to three times as fast
    VideoCodec.H264: _Encoder("libx264", {"preset": "veryfast", "bf": _NO_B_FRAMES}, _WORKING_FORMATS, crf=14),
    VideoCodec.HEVC: _Encoder(
        "libx265",
        {"preset": "fast", "x265-params": f"bframes={_NO_B_FRAMES}:log-level=none"},
        _WORKING_FORMATS,
        crf=14,
        tag="hvc1",  # the one of the two tags that Apple's players take
    ),
    VideoCodec.PRORES: _Encoder("prores_ks", {"vendor": "apl0"}, {1: "yuv444p10le", 2: "yuv422p10le"}),
}

_KEY_FRAME_SECONDS = 2

_FINEST_TIMESCALE = 1_000_000
"""Ticks per second. mp4 gives a frame 31 bits of them, two seconds only of the nanoseconds that Matroska may count."""


class VideoTrack:
    """The picture track of an output file. Frames go in with a time and a duration, in ticks of the source's time base.

    Size, shape of the samples, colors and the time base are the source's. Pictures have 8 bits: ProRes stores them in
    10, and changes none of them. Raises EncoderUnavailable.
    """

    def __init__(self, container: OutputContainer, facts: VideoFacts, output: Output | None = None) -> None:
        output = output or Output()
        check_encoder(output.codec)
        encoder = _ENCODERS[output.codec]
        self._container = container
        self._time_base = facts.time_base
        self._durations: dict[int, int] = {}
        self._format = encoder.formats[working_subsampling(facts.width, facts.height)]
        options = _options(encoder, output.quality)
        self._stream = cast(VideoStream, container.add_stream(encoder.name, rate=facts.fps, options=options))
        context = self._stream.codec_context
        if encoder.tag is not None:
            context.codec_tag = encoder.tag
        context.width, context.height = facts.width, facts.height
        context.pix_fmt = self._format
        context.time_base = facts.time_base
        context.gop_size = max(1, round(_KEY_FRAME_SECONDS * facts.fps))
        context.sample_aspect_ratio = facts.sample_aspect_ratio
        context.color_range = facts.color.range
        context.color_primaries = facts.color.primaries
        context.color_trc = facts.color.transfer
        context.colorspace = facts.color.matrix

    def write(self, picture: Picture, pts: int, duration: int) -> None:
        """Encode the next frame."""
        frame = _in_format(picture_to_frame(picture), self._format)
        frame.pts, frame.time_base = pts, self._time_base
        self._durations[pts] = duration
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Encode what the encoder still holds."""
        self._mux(self._stream.encode(None))

    def _mux(self, packets: Iterable["av.Packet[VideoStream]"]) -> None:
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts)
            self._container.mux(packet)


def _options(encoder: _Encoder, quality: int | None) -> dict[str, str]:
    crf = encoder.crf if quality is None else quality
    return dict(encoder.options) if crf is None else {**encoder.options, "crf": str(crf)}


def _in_format(frame: av.VideoFrame, name: str) -> av.VideoFrame:
    """The frame in an encoder's pixel format, its samples' meaning unchanged."""
    if frame.format.name == name:
        return frame
    return frame.reformat(
        format=name,
        src_color_range=frame.color_range,
        dst_color_range=frame.color_range,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
    )


def check_encoder(codec: VideoCodec) -> None:
    """Raise EncoderUnavailable unless the encoder of this codec opens: being listed by FFmpeg is not enough."""
    if not _opens(codec):
        raise EncoderUnavailable(f"This machine's FFmpeg has no working encoder for {codec}.")


@cache
def _opens(codec: VideoCodec) -> bool:
    encoder = _ENCODERS[codec]
    try:
        context = cast(VideoCodecContext, av.CodecContext.create(encoder.name, "w"))
        context.width, context.height, context.pix_fmt = 256, 256, encoder.formats[2]
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.options = _options(encoder, None)
        context.open()
    except (FFmpegError, ValueError):  # PyAV says ValueError for an encoder that is not there at all
        return False
    return True


@contextmanager
def new_file(output: Path, time_base: Fraction, container: Container = Container.MP4) -> Iterator[OutputContainer]:
    """A file to write into, playable while it downloads. It gets its name when the block ends well, else it is gone.

    Frame times in ticks of `time_base` are kept exactly; to the microsecond when the ticks are finer than that.
    """
    options = {"movflags": "+faststart"}
    if time_base.denominator > _FINEST_TIMESCALE:
        options["video_track_timescale"] = str(_FINEST_TIMESCALE)
    partial = output.with_name(f"{output.name}.partial")
    try:
        with av.open(f"file:{partial}", "w", format=container.value, options=options) as file:
            yield file
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
