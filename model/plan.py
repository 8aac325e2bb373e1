"""The plan of a dub: everything known before the first network runs, as plain data that survives as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Box = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in pixels of the upright frame, end exclusive."""


AUTO = "auto"
"""The face choice that needs no looking: in each shot the face with the largest area summed over the shot."""


@dataclass(frozen=True, slots=True)
class FacePoint:
    """A face named by where it is: x, y in px of the upright frame that the source shows at `time_seconds`."""

    x: float
    y: float
    time_seconds: float


FaceChoice = str | FacePoint
"""AUTO, the id of a face track, or a point in it. An id or a point means that one face, in its one shot."""


class SyncMode(StrEnum):
    """What happens when voice and video differ in length.

    cut_off: the output ends with the shorter of the two. loop, bounce, hold: the output is as long as the voice; a
    video that ends too early starts again, plays backwards and forwards, or holds its last frame. silence: the output
    is as long as the video; a voice that ends too early is followed by silence, a longer one is cut.
    """

    CUT_OFF = "cut_off"
    LOOP = "loop"
    BOUNCE = "bounce"
    SILENCE = "silence"
    HOLD = "hold"


class Geometry(StrEnum):
    """How faces are boxed and pasted. tracked: tracked, smoothed boxes; only the generated region is pasted, feathered.
    published: boxes, segments and whole-box paste of the published program (docs/model.md)."""

    TRACKED = "tracked"
    PUBLISHED = "published"


class Container(StrEnum):
    """What kind of file the result is."""

    MP4 = "mp4"
    MOV = "mov"


class VideoCodec(StrEnum):
    """How its picture is encoded. prores is ProRes 422 HQ, 4444 where a side is odd."""

    H264 = "h264"
    HEVC = "hevc"
    PRORES = "prores"


class AudioCodec(StrEnum):
    """How its sound is encoded. pcm and flac lose nothing down to 24 bits."""

    AAC = "aac"
    PCM = "pcm"
    FLAC = "flac"


CODECS: Mapping[Container, tuple[frozenset[VideoCodec], frozenset[AudioCodec]]] = {
    Container.MP4: (frozenset({VideoCodec.H264, VideoCodec.HEVC}), frozenset({AudioCodec.AAC, AudioCodec.FLAC})),
    Container.MOV: (frozenset(VideoCodec), frozenset({AudioCodec.AAC, AudioCodec.PCM})),
}
"""What each container takes."""


@dataclass(frozen=True, slots=True)
class Output:
    """How the result is written. quality: the CRF of h264 and hevc, 0 (largest) to 51; None: close to the source.

    Raises ValueError when the container does not take a codec, or the codec has no such quality.
    """

    container: Container = Container.MP4
    codec: VideoCodec = VideoCodec.H264
    quality: int | None = None
    audio_codec: AudioCodec = AudioCodec.AAC

    def __post_init__(self) -> None:
        codecs, audio_codecs = CODECS[self.container]
        if self.codec not in codecs:
            raise ValueError(f"{self.container} does not hold {self.codec}")
        if self.audio_codec not in audio_codecs:
            raise ValueError(f"{self.container} does not hold {self.audio_codec}")
        if self.quality is not None and (self.codec is VideoCodec.PRORES or not 0 <= self.quality <= 51):
            raise ValueError(f"{self.codec} has no quality {self.quality}")


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of the video that is dubbed, while the rest passes through: the API calls it a segment.

    It begins and ends with the frames nearest to `start_seconds` and `end_seconds`. audio_path: its own voice, heard
    from its start on; None: what the dub's voice holds at the same times. face: None is the dub's choice.
    Raises ValueError unless 0 <= start < end.
    """

    start_seconds: float
    end_seconds: float
    audio_path: Path | None = None
    face: FaceChoice | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.start_seconds < self.end_seconds and isfinite(self.end_seconds)):
            raise ValueError(f"{self.start_seconds:g} s to {self.end_seconds:g} s is no part of a video")


@dataclass(frozen=True, slots=True)
class DubOptions:
    """What the caller may choose. The defaults are the published ones.

    passages: the parts to dub, in order; none means the whole video. With passages the result is as long as the video:
    a voice longer than its passage is cut, a shorter one is followed by silence.
    Raises ValueError when passages overlap, or stand beside a sync mode that changes the length.
    """

    sync_mode: SyncMode = SyncMode.CUT_OFF
    seed: int = 42
    num_inference_steps: int = 20
    guidance_scale: float = 3.5
    geometry: Geometry = Geometry.TRACKED
    face: FaceChoice = AUTO
    output: Output = Output()
    passages: tuple[Passage, ...] = ()

    def __post_init__(self) -> None:
        if self.passages and self.sync_mode not in (SyncMode.CUT_OFF, SyncMode.SILENCE):
            raise ValueError(f"{self.sync_mode} changes the length of the video, passages keep it")
        for number, (before, after) in enumerate(pairwise(self.passages)):
            if after.start_seconds < before.end_seconds:
                raise ValueError(f"passage {number + 1} begins before passage {number} ends")


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What is refused before it costs memory or time, and what the process that decodes may cost.

    max_fps: frames in any second, by the times they are shown at; a tenth more is let pass, for clocks of cameras.
    max_decoded_bytes: all pictures of a video as 4:2:0; the default is max_frames of them in 4K.
    decoder_silence_seconds: longest time without a new frame. The others of the decoder are the system's own limits.
    """

    max_pixels: int = 3840 * 2160 * 2
    max_frames: int = 1_080_000
    max_duration_seconds: float = 4 * 3600.0
    max_fps: int = 240
    max_streams: int = 32
    max_decoded_bytes: int = 1_080_000 * 3840 * 2160 * 3 // 2
    decoder_memory_bytes: int = 4 * 1024**3
    decoder_cpu_seconds: int = 12 * 3600
    decoder_silence_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class ColorTags:
    """FFmpeg's numbers for how samples become colour (AVColorRange, AVColorPrimaries, AVColorTransferCharacteristic,
    AVColorSpace)."""

    range: int
    primaries: int
    transfer: int
    matrix: int


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the container and the first frame say of the picture. width, height: px of the upright (rotated) frame.

    sound_start_seconds: when the file's own sound begins, counted from frame 0; negative when it begins before it.
    """

    width: int
    height: int
    rotation_degrees: int
    fps: Fraction
    frames: int
    duration_seconds: float
    time_base: Fraction
    codec: str
    pixel_format: str
    color: ColorTags
    sample_aspect_ratio: Fraction
    has_audio: bool
    interlaced: bool = False
    sound_start_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What the voice file holds. peak: its loudest sample, in (0, 1] of full scale; floats may go beyond."""

    codec: str
    sample_rate_hz: int
    channels: int
    duration_seconds: float
    peak: float = 1.0


@dataclass(frozen=True, slots=True)
class VoiceFormat:
    """How a voice file says that its sound is stored. layout: FFmpeg's name of the channels."""

    rate_hz: int
    layout: str
    channels: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of output frames [first, stop) rendered together; boxes[i] is the crop box of output frame first + i.

    The first `overlap` frames are rendered by the segment before it too, and cross-faded when composing. voice: index
    of the voice it follows.
    """

    index: int
    first: int
    stop: int
    overlap: int
    boxes: tuple[Box, ...]
    voice: int = 0

    @property
    def frames(self) -> int:
        """Number of output frames in this segment."""
        return self.stop - self.first


@dataclass(frozen=True, slots=True)
class Voice:
    """A new voice, heard with the output frames [first, stop), from `skip_seconds` of its file on."""

    path: Path
    first: int
    stop: int
    skip_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DubPlan:
    """One dub, decided: which source frame each output frame shows, when, and where its face is.

    source_frames[i] is the source frame index of output frame i; pts[i] its presentation time in units of
    video.time_base, pts[0] == 0. Shots are [first, stop) runs of source frames. Output frames outside every segment
    pass through untouched. Where no voice is heard, the video's own sound is if `keeps_sound`, else silence.
    limits: those the files were analysed with; they hold whenever a file is read again.
    """

    video_path: Path
    video: VideoFacts
    options: DubOptions
    source_frames: tuple[int, ...]
    pts: tuple[int, ...]
    duration_seconds: float
    shots: tuple[tuple[int, int], ...]
    segments: tuple[Segment, ...]
    voices: tuple[Voice, ...]
    keeps_sound: bool = False
    limits: MediaLimits = MediaLimits()

    @property
    def frames(self) -> int:
        """Number of output frames."""
        return len(self.source_frames)

    def times_seconds(self, first: int, stop: int) -> tuple[float, ...]:
        """Presentation times of the output frames [first, stop), in seconds."""
        return tuple(float(pts * self.video.time_base) for pts in self.pts[first:stop])

    def span_seconds(self, voice: Voice) -> tuple[float, float]:
        """From when to when a voice is heard, in seconds of the output."""
        start = float(self.pts[voice.first] * self.video.time_base)
        if voice.stop == self.frames:
            return start, self.duration_seconds
        return start, float(self.pts[voice.stop] * self.video.time_base)


def plan_to_json(plan: DubPlan) -> bytes:
    """Write a plan as JSON."""
    return _adapter().dump_json(plan)


def plan_from_json(text: bytes) -> DubPlan:
    """Read a plan written by `plan_to_json`. Raises pydantic.ValidationError when it is not one."""
    return _adapter().validate_json(text)


@cache
def _adapter() -> "TypeAdapter[DubPlan]":
    from pydantic import TypeAdapter  # a decoder process imports this file too, and cannot wait for pydantic

    return TypeAdapter(DubPlan)
