"""The encode_audio stage: published numbers, and voices at the edge."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.audio.encoder import AudioEncoder
from model.errors import AudioTooShort, CorruptMedia
from model.parity.audio import rule_state, waveform
from model.parity.checks import array_error, stats_error
from model.parity.rules import Goldens
from model.stages.encode_audio import encode_audio

RULES = Goldens(Path(__file__).parents[2] / "golden", salt="")


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    return AudioEncoder.from_openai_state(rule_state(RULES))


def test_a_voice_has_the_published_features(encoder: AudioEncoder) -> None:
    # Given the published waveform and weights
    golden, arrays = RULES.json("whisper.json")["a"], RULES.arrays("whisper_chunks.npz")
    samples = (waveform(RULES, golden) / 32768).astype(np.float32)
    # When the frames of a video of 25 fps listen to it
    features = encode_audio(encoder, samples)
    heard = features.at([frame / golden["fps"] for frame in range(golden["F"])])
    # Then they hear what the published ones do
    assert features.num_rows == golden["T"]
    assert stats_error(features.rows(torch.arange(features.num_rows)), golden["features"]) < 1e-4
    assert stats_error(heard, golden["chunks"]) < 1e-4
    assert array_error(heard[golden["npz_frames"]], arrays["a_chunks"]) < 1e-4


def test_lengths_are_the_published(encoder: AudioEncoder) -> None:
    for record in RULES.json("whisper.json")["length_behaviour"]:
        features = encode_audio(encoder, np.zeros(record["num_samples"], dtype=np.float32))
        assert features.num_rows == record["T"], record


@pytest.mark.parametrize("samples", [0, 1, 160, 319])
def test_less_than_one_row_is_too_short(encoder: AudioEncoder, samples: int) -> None:
    with pytest.raises(AudioTooShort, match="20 ms"):
        encode_audio(encoder, np.zeros(samples, dtype=np.float32))


def test_the_shortest_voice_is_heard_by_every_frame(encoder: AudioEncoder) -> None:
    features = encode_audio(encoder, np.full(320, 0.1, dtype=np.float32))
    assert features.num_rows == 1
    assert torch.equal(*features.at([0.0, 100.0]))


def test_silence_has_finite_features(encoder: AudioEncoder) -> None:
    assert bool(encode_audio(encoder, np.zeros(16_000, dtype=np.float32)).at([0.0, 0.5]).isfinite().all())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_sound_are_refused(encoder: AudioEncoder, value: float) -> None:
    samples = np.zeros(16_000, dtype=np.float32)
    samples[8_000] = value
    with pytest.raises(CorruptMedia):
        encode_audio(encoder, samples)
