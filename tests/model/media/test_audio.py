"""The voice in."""

from pathlib import Path

import numpy as np
import pytest

from model.errors import AudioTooShort, CorruptMedia, MediaError, MediaTooLarge, NoAudioStream, NotMedia, SilentAudio
from model.media.audio import ENCODER_RATE_HZ, probe_audio, read_audio_mono_16k
from model.plan import MediaLimits
from tests.media_factory import cut_short, make_video, make_voice

LIMITS = MediaLimits()


def test_facts_of_a_plain_voice(tmp_path: Path) -> None:
    facts = probe_audio(make_voice(tmp_path / "a.wav", seconds=1.5, rate=22_050, channels=2), LIMITS)

    assert (facts.codec, facts.sample_rate_hz, facts.channels) == ("pcm_s16le", 22_050, 2)
    assert facts.duration_seconds == 1.5


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [("wav", "pcm_s16le", 8_000), ("wav", "pcm_f32le", 96_000), ("mp3", "libmp3lame", 44_100), ("flac", "flac", 48_000),
     ("m4a", "aac", 48_000), ("ogg", "libopus", 48_000), ("mkv", "flac", 16_000)],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_stays_that_tone_at_16_khz(tmp_path: Path, suffix: str, codec: str, rate: int, channels: int) -> None:
    path = make_voice(tmp_path / f"a.{suffix}", codec=codec, rate=rate, channels=channels, seconds=1.0, frequency=440.0)

    samples = read_audio_mono_16k(path)

    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(ENCODER_RATE_HZ, abs=64)
    spectrum = np.abs(np.fft.rfft(samples[:ENCODER_RATE_HZ]))
    assert np.argmax(spectrum) * ENCODER_RATE_HZ / len(samples[:ENCODER_RATE_HZ]) == pytest.approx(440, abs=2)
    assert np.abs(samples[1_000:15_000]).max() == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(("suffix", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("m4a", "aac")])
def test_eight_channels_are_heard_packed_or_in_planes(tmp_path: Path, suffix: str, codec: str) -> None:
    path = make_voice(tmp_path / f"a.{suffix}", codec=codec, rate=48_000, channels=8, seconds=0.5)

    facts = probe_audio(path, LIMITS)

    assert facts.channels == 8
    assert facts.peak > 0.39
    assert np.abs(read_audio_mono_16k(path)[1_000:7_000]).max() == pytest.approx(0.4, abs=0.05)


def test_16_khz_samples_pass_through_exactly(tmp_path: Path) -> None:
    sent = np.random.default_rng(0).uniform(-0.9, 0.9, (1, 16_000)).astype(np.float32)

    samples = read_audio_mono_16k(make_voice(tmp_path / "a.wav", codec="pcm_f32le", samples=sent))

    assert np.array_equal(samples, sent[0])


def test_mono_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    sent = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 8_000)).astype(np.float32)

    samples = read_audio_mono_16k(make_voice(tmp_path / "a.wav", codec="pcm_f32le", samples=sent))

    assert samples == pytest.approx(sent.mean(axis=0), abs=1e-6)


def test_sound_that_needs_no_resampling_is_whole(tmp_path: Path) -> None:
    path = make_voice(tmp_path / "a.m4a", codec="aac", rate=16_000, seconds=1.0)

    assert len(read_audio_mono_16k(path)) == pytest.approx(16_000, abs=1_024)


def test_the_sound_of_a_video_will_do(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=25, audio_seconds=1.0)

    assert probe_audio(path, LIMITS).duration_seconds == pytest.approx(1.0, abs=0.03)


def test_a_silent_video_has_no_voice(tmp_path: Path) -> None:
    with pytest.raises(NoAudioStream):
        probe_audio(make_video(tmp_path / "a.mp4"), LIMITS)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.019])
def test_less_than_20_ms_is_too_short(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(AudioTooShort):
        probe_audio(make_voice(tmp_path / "a.wav", seconds=seconds), LIMITS)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_u8", "pcm_f32le", "flac"])
def test_zeros_are_no_voice(tmp_path: Path, codec: str) -> None:
    path = make_voice(tmp_path / ("a.flac" if codec == "flac" else "a.wav"), codec=codec, silent=True)

    with pytest.raises(SilentAudio):
        probe_audio(path, LIMITS)


def test_one_quiet_sample_is_a_voice(tmp_path: Path) -> None:
    sent = np.zeros((1, 16_000), np.float32)
    sent[0, 9_000] = 2 / 32_768

    assert probe_audio(make_voice(tmp_path / "a.wav", samples=sent), LIMITS).duration_seconds == 1.0


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_corrupt(tmp_path: Path, poison: float) -> None:
    sent = np.full((1, 16_000), 0.1, np.float32)
    sent[0, 9_000] = poison

    with pytest.raises(CorruptMedia):
        probe_audio(make_voice(tmp_path / "a.wav", codec="pcm_f32le", samples=sent), LIMITS)


def test_endless_sound_is_stopped_while_decoding(tmp_path: Path) -> None:
    bomb = make_voice(tmp_path / "a.flac", codec="flac", seconds=120.0, rate=8_000, silent=True)
    limits = MediaLimits(max_duration_seconds=60.0)

    with pytest.raises(MediaTooLarge):
        probe_audio(bomb, limits)
    with pytest.raises(MediaTooLarge):
        read_audio_mono_16k(bomb, limits)


def test_garbage_is_not_media(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(np.random.default_rng(0).bytes(5_000))

    with pytest.raises(NotMedia):
        probe_audio(path, LIMITS)


def test_garbage_in_a_container_is_corrupt(tmp_path: Path) -> None:
    path = make_voice(tmp_path / "a.flac", codec="flac", rate=48_000)
    content = bytearray(path.read_bytes())
    content[200:] = np.random.default_rng(0).bytes(len(content) - 200)
    path.write_bytes(content)

    with pytest.raises(MediaError):
        probe_audio(path, LIMITS)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("m4a", "aac"), ("ogg", "libopus")]
)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_a_voice_cut_short_is_shorter_or_a_clear_error(tmp_path: Path, suffix: str, codec: str, kept: float) -> None:
    whole = make_voice(tmp_path / f"whole.{suffix}", codec=codec, rate=48_000)
    path = cut_short(whole, tmp_path / f"cut.{suffix}", kept)

    try:
        facts = probe_audio(path, LIMITS)
    except MediaError:
        return
    assert facts.duration_seconds <= probe_audio(whole, LIMITS).duration_seconds
