"""The sample clip: a face that moves, a mouth that follows the sound, no borders."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cli.sample_clip import SampleClip, SpeechSynthesizerMissing, make_sample_clip
from model.media.audio import probe_audio, read_audio_mono_16k
from model.media.reader import VideoReader, probe_video
from model.plan import MediaLimits

LIMITS = MediaLimits()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> SampleClip:
    pytest.importorskip("skimage")
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    return make_sample_clip(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def frames(clip: SampleClip) -> np.ndarray:
    """Every fifth frame, (20, 720, 1280, 3) RGB."""
    return np.stack([frame.to_rgb() for frame in VideoReader(clip.video).frames() if frame.index % 5 == 0])


def test_it_is_what_it_says(clip: SampleClip) -> None:
    video, voice = probe_video(clip.video, LIMITS), probe_audio(clip.voice, LIMITS)

    assert (video.width, video.height, video.fps, video.frames) == (1280, 720, 25, 100)
    assert video.has_audio
    assert voice.duration_seconds == pytest.approx(4.0)


def test_it_speaks_and_another_voice_says_something_else(clip: SampleClip) -> None:
    spoken, dubbed = read_audio_mono_16k(clip.video), read_audio_mono_16k(clip.voice)

    length = min(len(spoken), len(dubbed))
    assert np.abs(spoken).max() > 0.1
    assert np.abs(dubbed).max() > 0.1
    assert abs(np.corrcoef(spoken[:length], dubbed[:length])[0, 1]) < 0.2


def test_it_moves_and_shows_no_border(frames: np.ndarray) -> None:
    edges = [frames[:, 0], frames[:, -1], frames[:, :, 0], frames[:, :, -1]]

    assert all(edge.astype(float).mean(axis=-1).max(axis=-1).min() > 30 for edge in edges)
    assert np.abs(frames[0].astype(int) - frames[10]).mean() > 3


def test_the_mouth_is_darker_inside_when_the_speech_is_louder(clip: SampleClip) -> None:
    spoken = read_audio_mono_16k(clip.video)
    mouths = np.stack([frame.to_rgb()[340:460, 460:700] for frame in VideoReader(clip.video).frames()])
    dark = (mouths.max(axis=-1) < 75).mean(axis=(1, 2))
    loudness = np.sqrt(np.square(spoken[: 640 * 99]).reshape(99, 640).mean(axis=1))

    assert np.corrcoef(dark[:99], loudness)[0, 1] > 0.6


def test_without_a_speech_synthesizer_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SpeechSynthesizerMissing, match="apt-get install espeak-ng"):
        make_sample_clip(tmp_path)
