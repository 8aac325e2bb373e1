"""Makes media files for tests with PyAV: honest ones of every kind, and hostile ones."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from model.plan import ColorTags

BT709 = ColorTags(range=1, primaries=1, transfer=1, matrix=1)


def rgb_picture(index: int, width: int, height: int) -> np.ndarray:
    """An RGB picture (H, W, 3) uint8 that is smooth, coloured and different for every index."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    phase = 0.37 * index
    red = 128 + 70 * np.sin(x / width * 5 + phase)
    green = 128 + 70 * np.sin(y / height * 4 - phase)
    blue = 128 + 60 * np.sin((x + y) / (width + height) * 6 + 2 * phase)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def make_video(
    path: Path,
    *,
    width: int = 64,
    height: int = 48,
    frames: int = 10,
    fps: Fraction | int = 25,
    time_base: Fraction | None = None,
    pts: Sequence[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    gop: int | None = None,
    b_frames: int = 2,
    rotation: int = 0,
    color: ColorTags | None = BT709,
    sample_aspect_ratio: Fraction | None = None,
    audio_seconds: float = 0.0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    format: str | None = None,
    metadata: dict[str, str] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
) -> Path:
    """Write a video whose frame i is `rgb_picture(i)` (or pictures[i], RGB). pts: ticks of time_base, if not 0, 1, 2, …

    The container follows the path's suffix or `format`: mp4, mov, mkv, webm, avi, ts.
    """
    fps = Fraction(fps)
    time_base = time_base or 1 / fps
    with av.open(str(path), "w", format=format, container_options=container_options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.time_base = stream.codec_context.time_base = time_base
        if gop is not None:
            stream.gop_size = gop
        if codec in {"libx264", "libx265", "mpeg2video", "mpeg4"}:
            stream.max_b_frames = b_frames
        if color is not None:
            _tag(stream.codec_context, color)
        if sample_aspect_ratio is not None:
            stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=48_000, layout="stereo") if audio_seconds else None
        container.start_encoding()
        for index in range(frames):
            rgb = pictures[index] if pictures is not None else rgb_picture(index, width, height)
            frame = _video_frame(rgb, pixel_format)
            frame.pts = index if pts is None else pts[index]
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            for frame in _tone_frames(audio_seconds, 48_000, 2, "flt", 440.0):
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def make_voice(
    path: Path,
    *,
    seconds: float = 1.0,
    rate: int = 16_000,
    channels: int = 1,
    codec: str = "pcm_s16le",
    frequency: float = 220.0,
    silent: bool = False,
    samples: np.ndarray | None = None,
) -> Path:
    """Write a sound file: a tone, silence, or `samples` (channels, n) float32 in [-1, 1]."""
    if samples is None:
        samples = np.zeros((channels, round(seconds * rate)), np.float32) if silent else None
    else:
        channels = samples.shape[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=_layout(channels))
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=_layout(channels), rate=rate)
        source = (
            _tone_frames(seconds, rate, channels, "flt", frequency)
            if samples is None
            else _sample_frames(samples, rate)
        )
        container.start_encoding()
        fifo = av.AudioFifo()
        for frame in source:
            for converted in resampler.resample(frame):
                fifo.write(converted)
        size = stream.codec_context.frame_size or 1024
        while (chunk := fifo.read(size, partial=True)) is not None:
            container.mux(stream.encode(chunk))
        container.mux(stream.encode(None))
    return path


def make_cover_art_mp3(path: Path) -> Path:
    """An mp3 with a picture in it: its only video stream is cover art."""
    with av.open(str(path), "w", format="mp3", options={"id3v2_version": "3"}) as container:
        sound = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(rgb_picture(0, 64, 64), format="rgb24").reformat(format="yuvj420p")
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
        for frame in _tone_frames(1.0, 44_100, 1, "flt", 220.0):
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def make_many_streams(path: Path, streams: int) -> Path:
    """A Matroska file with one video and many sound streams."""
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = [container.add_stream("pcm_s16le", rate=8_000, layout="mono") for _ in range(streams - 1)]
        frame = av.VideoFrame.from_ndarray(rgb_picture(0, 64, 48), format="rgb24").reformat(format="yuv420p")
        container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for sound in sounds:
            for tone in _tone_frames(0.04, 8_000, 1, "s16", 220.0):
                container.mux(sound.encode(tone))
            container.mux(sound.encode(None))
    return path


def make_chapters(path: Path, chapters: int) -> Path:
    """A Matroska file with one frame and many chapters."""
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        ticks = {"time_base": Fraction(1, 1000), "metadata": {"title": "chapter"}}
        container.set_chapters([{"id": i, "start": i, "end": i + 1, **ticks} for i in range(chapters)])
        frame = av.VideoFrame.from_ndarray(rgb_picture(0, 64, 48), format="rgb24").reformat(format="yuv420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_picture_bomb(path: Path, width: int = 16_000, height: int = 16_000) -> Path:
    """A few kilobytes of mp4-family file that decode to one huge picture."""
    with av.open(str(path), "w", format="mov") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "monob"
        frame = av.VideoFrame(width, height, "monob")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_resolution_change(
    path: Path, first: tuple[int, int] = (128, 128), second: tuple[int, int] = (256, 192)
) -> Path:
    """A transport stream whose picture changes size midway."""
    parts = []
    for number, (width, height) in enumerate((first, second)):
        part = path.with_name(f"{path.stem}.part{number}.ts")
        parts.append(make_video(part, width=width, height=height, frames=10, pts=[10 * number + i for i in range(10)]))
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def make_hls_playlist(path: Path, target: str) -> Path:
    """A playlist that makes FFmpeg open `target`, whatever its own name is."""
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n")
    return path


def make_concat_script(path: Path, target: str) -> Path:
    """An ffconcat script that names `target`."""
    path.write_text(f"ffconcat version 1.0\nfile '{target}'\n")
    return path


def make_session_description(path: Path) -> Path:
    """An SDP that would make FFmpeg listen on the network."""
    path.write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n"
    )
    return path


def make_dash_manifest(path: Path, target: str) -> Path:
    """A DASH manifest that names `target`."""
    path.write_text(
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
        f'bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )
    return path


def make_subtitled_avi(path: Path, subtitles: bytes) -> Path:
    """An AVI whose second stream is a subtitle file within the file (GAB2), which FFmpeg opens with another demuxer."""
    plain = make_video(path, codec="mpeg4", b_frames=0, color=None, frames=3).read_bytes()
    text = b"GAB2\0" + struct.pack("<HIHHI", 2, 2, 0, 4, len(subtitles)) + subtitles
    header = struct.pack("<4s4sIHHIIIIIIIIhhhh", b"txts", b"\0" * 4, 0, 0, 0, 0, 1, 25, 0, 3, 0, 0, 0, 0, 0, 0, 0)
    stream = _chunk(b"LIST", b"strl" + _chunk(b"strh", header) + _chunk(b"strf", b""))
    header_list = bytearray(_avi_list(plain, b"hdrl") + stream)
    streams = header_list.index(b"avih") + 8 + 24
    header_list[streams : streams + 4] = struct.pack("<I", 2)
    pictures = b"movi" + _chunk(b"01tx", text) + _avi_list(plain, b"movi")[4:]
    path.write_bytes(_chunk(b"RIFF", b"AVI " + _chunk(b"LIST", bytes(header_list)) + _chunk(b"LIST", pictures)))
    return path


def make_external_reference(path: Path, whole: Path) -> Path:
    """An mp4 without pictures: its table says that they lie in `whole`, an mp4 with its index at the end."""
    content = whole.read_bytes()
    own = content.index(b"url ", content.index(b"dref")) - 4
    place = str(whole).encode().replace(b"/", b":") + b"\0"
    place += b"\0" * (len(place) % 2)
    alias = bytes(10) + b"\x01/" + bytes(26) + bytes(12) + b"\x01x" + bytes(62) + bytes(16) + struct.pack(">HH", 1, 1)
    alias += bytes(16) + struct.pack(">HH", 2, len(place)) + place + struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    broken = bytearray(content[:own] + entry + content[own + 12 :])
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = broken.index(box) - 4
        size = int.from_bytes(broken[start : start + 4], "big") + len(entry) - 12
        broken[start : start + 4] = size.to_bytes(4, "big")
    pictures, index = broken.index(b"mdat") + 4, broken.index(b"moov") - 4
    broken[pictures:index] = bytes(index - pictures)
    path.write_bytes(broken)
    return path


def make_trimmed_video(path: Path, first: int) -> Path:
    """An mp4 of ten frames whose edit list shows it from frame `first` on."""
    content = bytearray(make_video(path, frames=10, b_frames=0, gop=1).read_bytes())
    timescale = content.index(b"mdhd") + 4 + 12
    ticks = int.from_bytes(content[timescale : timescale + 4], "big") // 25 * first
    edit = content.index(b"elst") + 4 + 8
    duration, _ = struct.unpack_from(">Ii", content, edit)
    struct.pack_into(">Ii", content, edit, duration * (10 - first) // 10, ticks)
    path.write_bytes(content)
    return path


def cut_short(source: Path, path: Path, fraction: float) -> Path:
    """The first `fraction` of a file's bytes."""
    content = source.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def _chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a RIFF file."""
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _avi_list(content: bytes, kind: bytes) -> bytes:
    """What a list of a RIFF file holds, its kind first."""
    start = content.index(kind)
    return content[start : start + int.from_bytes(content[start - 4 : start], "little")]


def _video_frame(rgb: np.ndarray, pixel_format: str) -> av.VideoFrame:
    """An RGB picture (H, W, 3) uint8 as BT.709 in the encoder's format."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
        format=pixel_format,
        dst_colorspace="ITU709",
        dst_color_range="JPEG" if "yuvj" in pixel_format else "MPEG",
    )


def _tag(context: av.VideoCodecContext, color: ColorTags) -> None:
    context.color_range = color.range
    context.color_primaries = color.primaries
    context.color_trc = color.transfer
    context.colorspace = color.matrix


def _layout(channels: int) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[channels]


def _tone_frames(seconds: float, rate: int, channels: int, format: str, frequency: float) -> list[av.AudioFrame]:
    tone = 0.4 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate).astype(np.float32)
    frames = _sample_frames(np.stack([tone] * channels), rate)
    if format == "flt":
        return frames
    resampler = av.AudioResampler(format=format, layout=_layout(channels), rate=rate)
    return [converted for frame in frames for converted in resampler.resample(frame)]


def _sample_frames(samples: np.ndarray, rate: int, size: int = 1024) -> list[av.AudioFrame]:
    """Cut (channels, n) float32 samples into frames."""
    frames = []
    for start in range(0, samples.shape[1], size):
        chunk = np.ascontiguousarray(samples[:, start : start + size].T, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(chunk, format="flt", layout=_layout(samples.shape[0]))
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        frames.append(frame)
    return frames
