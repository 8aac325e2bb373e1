"""The features of a voice at any time."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.audio.encoder import WHISPER_TINY, AudioEncoder, AudioEncoderConfig
from model.audio.features import SEGMENT_ROWS, SEGMENTS_HELD, AudioFeatures, rows_around
from model.audio.log_mel import LogMel
from model.parity.rules import Goldens
from tests.model.audio.test_encoder import RULES


class CountingEncoder(AudioEncoder):
    """Counts the segments it encodes."""

    def __init__(self, config: AudioEncoderConfig = WHISPER_TINY) -> None:
        super().__init__(config)
        self.encoded = 0

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        self.encoded += 1
        return super().forward(log_mel)


def voice(seconds: float) -> LogMel:
    return LogMel(np.random.default_rng(0).uniform(-0.5, 0.5, round(16_000 * seconds)).astype(np.float32))


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder.untrained(seed=0)


def test_rows_at_any_rate_are_the_published() -> None:
    rules: Goldens = RULES
    for record in rules.json("whisper.json")["index_behaviour"]:
        for frame, rows in record["feature_rows_used_by_frame"].items():
            assert rows_around(int(frame) / record["fps"], record["T"]) == rows, (record["fps"], record["T"], frame)


@given(st.integers(0, 25 * 4 * 3600))
def test_a_frame_at_25_fps_is_never_a_row_off(frame: int) -> None:
    assert rows_around(frame / 25, 10**9)[4] == 2 * frame
    assert rows_around(float(Fraction(frame * 3600, 90_000)), 10**9)[4] == 2 * frame


@given(st.floats(0, 4 * 3600), st.integers(1, 720_000))
def test_rows_stay_in_the_voice_and_in_order(time_seconds: float, num_rows: int) -> None:
    rows = rows_around(time_seconds, num_rows)
    assert len(rows) == 10
    assert rows == sorted(rows)
    assert rows[0] >= 0
    assert rows[-1] < num_rows


def test_a_frame_hears_its_rows_one_after_the_other(encoder: CountingEncoder) -> None:
    features = AudioFeatures(encoder, voice(1.0))
    heard = features.at([0.4])
    assert heard.shape == (1, 50, 384)
    assert torch.equal(heard[0].view(10, 5, 384), features.rows(torch.arange(16, 26)))


def test_only_what_is_asked_for_is_encoded(encoder: CountingEncoder) -> None:
    # Given a voice of four segments
    features = AudioFeatures(encoder, voice(100.0))
    assert features.num_rows == 5000
    assert encoder.encoded == 0
    # When frames around the first border are asked for, one after the other
    for frame in range(740, 760):
        features.at([frame / 25])
    # Then both sides of it are encoded, once
    assert encoder.encoded == SEGMENTS_HELD


def test_the_answer_does_not_depend_on_what_was_asked_before(encoder: CountingEncoder) -> None:
    features = AudioFeatures(encoder, voice(65.0))
    times = [5.0, 61.0, 29.98, 30.5]
    together = features.at(times)
    assert torch.equal(together, torch.cat([features.at([time]) for time in reversed(times)]).flip(0))


def test_rows_are_found_in_their_segment(encoder: CountingEncoder) -> None:
    log_mel = voice(31.0)
    features = AudioFeatures(encoder, log_mel)
    border = features.rows(torch.tensor([SEGMENT_ROWS, SEGMENT_ROWS - 1]))
    assert torch.equal(border[0], encoder(log_mel.segment(1)[None])[0, 0])
    assert torch.equal(border[1], encoder(log_mel.segment(0)[None])[0, -1])


def test_no_frames_have_no_features(encoder: CountingEncoder) -> None:
    assert AudioFeatures(encoder, voice(1.0)).at([]).shape == (0, 50, 384)
