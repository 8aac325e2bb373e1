"""The containers and codecs a result can have: each is one encode of the same pictures at the same times."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest

from core import jobs
from model.errors import EncoderUnavailable
from model.media import writer
from model.media.audio import probe_audio, read_audio_mono_16k
from model.media.picture import Picture, rgb_to_planes
from model.media.reader import VideoReader, probe_video
from model.plan import CODECS, AudioCodec, ColorTags, Container, MediaLimits, Output, VideoCodec
from tests.media_factory import make_video, make_voice, rgb_picture
from tests.model.stages.test_encode_media import VFR, encode, plan_of, psnr, source_pictures

LIMITS = MediaLimits()
VALID = [
    (container, codec, audio_codec)
    for container, (codecs, audio_codecs) in CODECS.items()
    for codec, audio_codec in product(sorted(codecs), sorted(audio_codecs))
]
WIDE = ColorTags(range=1, primaries=9, transfer=16, matrix=9)


def encoded(video: Path, voice: Path, folder: Path, output: Output) -> Path:
    plan = plan_of(video, voice)
    plan = replace(plan, options=replace(plan.options, output=output))
    return encode(plan, folder / f"out.{output.container}")


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_voice(tmp_path_factory.mktemp("voice") / "voice.wav", seconds=0.52, rate=48_000, channels=2)


@pytest.mark.parametrize(("container", "codec", "audio_codec"), VALID)
def test_every_valid_output_keeps_times_size_colours_and_sound(
    tmp_path: Path, voice: Path, container: Container, codec: VideoCodec, audio_codec: AudioCodec
) -> None:
    video = make_video(
        tmp_path / "a.mkv", time_base=Fraction(1, 1000), pts=VFR, frames=len(VFR), color=WIDE, options={"crf": "5"}
    )
    source = list(VideoReader(video).frames())

    out = encoded(video, voice, tmp_path, Output(container, codec, None, audio_codec))

    facts, sound = probe_video(out, LIMITS), probe_audio(out, LIMITS)
    result = list(VideoReader(out).frames())
    assert (facts.codec, facts.width, facts.height, facts.color) == (codec, 64, 48, WIDE)
    assert [frame.time_seconds for frame in result] == pytest.approx([frame.time_seconds for frame in source])
    assert min(psnr(a.planes.y, b.planes.y) for a, b in zip(source, result, strict=True)) > 42
    assert min(psnr(a.planes.u, b.planes.u) for a, b in zip(source, result, strict=True)) > 38
    assert (sound.sample_rate_hz, sound.channels) == (48_000, 2)
    assert sound.codec == {"aac": "aac", "flac": "flac", "pcm": "pcm_s24le"}[audio_codec]
    assert sound.duration_seconds == pytest.approx(0.52, abs=0.03)
    with av.open(str(out)) as opened:
        assert (
            opened.streams.video[0].codec_context.codec_tag == {"h264": "avc1", "hevc": "hvc1", "prores": "apch"}[codec]
        )
        assert ("qt  " in opened.metadata["major_brand"]) == (container is Container.MOV)


@pytest.mark.parametrize("codec", list(VideoCodec))
@pytest.mark.parametrize("size", [(63, 47), (66, 35)])
def test_odd_sizes_are_kept_by_every_codec(
    tmp_path: Path, voice: Path, codec: VideoCodec, size: tuple[int, int]
) -> None:
    video = make_video(tmp_path / "a.mkv", codec="ffv1", width=size[0], height=size[1], frames=3)
    facts = probe_video(encoded(video, voice, tmp_path, Output(Container.MOV, codec)), LIMITS)
    assert (facts.width, facts.height) == size


@pytest.mark.parametrize("codec", [VideoCodec.H264, VideoCodec.HEVC])
def test_a_lower_crf_is_larger_and_closer(tmp_path: Path, voice: Path, codec: VideoCodec) -> None:
    video = make_video(tmp_path / "a.mp4", width=160, height=120, options={"crf": "1"})
    first = next(source_pictures(plan_of(video, voice)))
    sizes, likeness = [], []
    for quality in (2, 40):
        out = encoded(video, voice, tmp_path, Output(codec=codec, quality=quality))
        sizes.append(out.stat().st_size)
        likeness.append(psnr(first.y, next(VideoReader(out).frames()).planes.y))
    assert sizes[0] > 1.5 * sizes[1]
    assert likeness[0] > likeness[1] + 5


@pytest.mark.parametrize("audio_codec", [AudioCodec.PCM, AudioCodec.FLAC])
def test_what_loses_nothing_gives_back_every_sample_of_16_bits(tmp_path: Path, audio_codec: AudioCodec) -> None:
    samples = np.rint(np.random.default_rng(1).uniform(-0.9, 0.9, (1, 16_000)) * 32_768).astype(np.float32) / 32_768
    voice = make_voice(tmp_path / "voice.wav", samples=samples)
    container = Container.MOV if audio_codec is AudioCodec.PCM else Container.MP4
    video = make_video(tmp_path / "a.mp4", frames=25)

    heard = read_audio_mono_16k(encoded(video, voice, tmp_path, Output(container, audio_codec=audio_codec)))

    assert np.array_equal(heard, samples[0])


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_101, 2), (48_000, 6), (48_000, 8), (192_000, 2)])
@pytest.mark.parametrize("audio_codec", [AudioCodec.PCM, AudioCodec.FLAC])
def test_what_loses_nothing_keeps_every_rate_and_all_channels(
    tmp_path: Path, audio_codec: AudioCodec, rate: int, channels: int
) -> None:
    voice = make_voice(tmp_path / "voice.wav", seconds=0.2, rate=rate, channels=channels)
    container = Container.MOV if audio_codec is AudioCodec.PCM else Container.MP4
    video = make_video(tmp_path / "a.mp4", frames=5)
    sound = probe_audio(encoded(video, voice, tmp_path, Output(container, audio_codec=audio_codec)), LIMITS)
    assert (sound.sample_rate_hz, sound.channels) == (rate, channels)


@pytest.mark.parametrize("full_range", [False, True])
def test_ten_bits_hold_the_eight_exactly(full_range: bool) -> None:
    color = ColorTags(range=2 if full_range else 1, primaries=1, transfer=1, matrix=1)
    picture: Picture = rgb_to_planes(rgb_picture(3, 64, 48), color, 2)
    frame = writer._in_format(writer.picture_to_frame(picture), "yuv422p10le")
    luma = np.frombuffer(memoryview(frame.planes[0]), np.uint16).reshape(48, -1)[:, :64]
    assert np.array_equal(luma >> 2, picture.y)


@pytest.mark.parametrize(
    "fields",
    [
        {"codec": VideoCodec.PRORES},
        {"audio_codec": AudioCodec.PCM},
        {"container": Container.MOV, "audio_codec": AudioCodec.FLAC},
        {"container": Container.MOV, "codec": VideoCodec.PRORES, "quality": 10},
        {"quality": 52},
        {"quality": -1},
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"does not hold|has no quality"):
        Output(**fields)  # type: ignore[arg-type]


def test_the_api_takes_just_what_the_model_library_takes() -> None:
    assert {
        container.value: [{codec.value for codec in codecs} for codecs in taken]
        for container, taken in jobs.CODECS.items()
    } == {
        container.value: [{codec.value for codec in codecs} for codecs in taken] for container, taken in CODECS.items()
    }


@pytest.mark.parametrize("codec", list(VideoCodec))
def test_the_encoders_of_this_machine_open(codec: VideoCodec) -> None:
    writer.check_encoder(codec)


@pytest.mark.parametrize("name", ["h264_nvenc", "no_such_encoder"])
def test_an_encoder_that_is_listed_but_does_not_open_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Here nvenc stands for any: FFmpeg lists it, and it opens only beside a GPU."""
    writer._opens.cache_clear()
    monkeypatch.setitem(
        writer._ENCODERS, VideoCodec.H264, replace(writer._ENCODERS[VideoCodec.H264], name=name, options={})
    )
    with pytest.raises(EncoderUnavailable, match="h264"):
        writer.check_encoder(VideoCodec.H264)
    writer._opens.cache_clear()
