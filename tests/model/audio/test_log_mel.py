"""The log-mel picture of a voice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.audio.log_mel import SEGMENT_COLUMNS, LogMel, mel_filters
from model.parity.audio import waveform
from model.parity.checks import array_error, stats_error
from model.parity.rules import Goldens

RULES = Goldens(Path(__file__).parents[2] / "golden", salt="")


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    numbers: dict[str, Any] = RULES.json("whisper.json")
    return numbers


def noise(samples: int) -> NDArray[np.float32]:
    return np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)


def picture(voice: NDArray[np.float32]) -> torch.Tensor:
    log_mel = LogMel(voice)
    return torch.cat([log_mel.segment(index)[:, : log_mel.columns_of(index)] for index in range(log_mel.segments)], 1)


def test_filters_are_the_published(published: dict[str, Any]) -> None:
    assert stats_error(mel_filters(), published["mel_filterbank"]) < 1e-8


def test_a_voice_looks_as_published(published: dict[str, Any]) -> None:
    columns = picture((waveform(RULES, published["a"]) / 32768).astype(np.float32))
    assert stats_error(columns, published["a"]["log_mel"]) < 1e-5
    start = RULES.arrays("whisper_chunks.npz")["a_log_mel_first_8_frames"]
    assert array_error(columns[:, :8], start) < 1e-5


def test_segments_fit_together_as_if_the_voice_were_one() -> None:
    # Given a voice over three segments, and one transform over all of it
    voice = noise(2 * 160 * SEGMENT_COLUMNS + 16000 + 77)
    spectrum = torch.stft(
        torch.from_numpy(voice), 400, 160, window=torch.hann_window(400), center=True, pad_mode="reflect",
        return_complex=True,
    )[:, :-1]  # fmt: skip
    log_power = (mel_filters() @ spectrum.abs().square()).clamp(min=1e-10).log10()
    # Then the segments, scaled by the whole voice's peak, are its parts
    whole = (log_power.clamp(min=float(log_power.max()) - 8) + 4) / 4
    assert torch.allclose(picture(voice), whole, atol=1e-5)


def test_the_peak_of_the_whole_voice_scales_every_segment() -> None:
    quiet_then_loud = noise(2 * 160 * SEGMENT_COLUMNS)
    quiet_then_loud[: 160 * SEGMENT_COLUMNS] *= 1e-6
    log_mel = LogMel(quiet_then_loud)
    lowest = (log_mel.peak - 8 + 4) / 4
    assert log_mel.segment(0)[:, :-1].flatten().unique().tolist() == pytest.approx([lowest])


def test_the_rest_of_the_last_segment_is_zero() -> None:
    last = LogMel(noise(16000)).segment(0)
    assert last.shape == (80, SEGMENT_COLUMNS)
    assert bool((last[:, 100:] == 0).all())
    assert bool((last[:, :100] != 0).any())


@pytest.mark.parametrize("samples", [320, 321, 479, 480_000, 480_160, 480_320, 960_000 + 159])
def test_a_column_takes_ten_milliseconds(samples: int) -> None:
    log_mel = LogMel(noise(samples))
    assert log_mel.columns == samples // 160
    assert sum(log_mel.columns_of(index) for index in range(log_mel.segments)) == log_mel.columns
    assert bool(picture(noise(samples)).isfinite().all())


@pytest.mark.parametrize("make", [np.zeros, np.ones])
def test_silence_and_a_constant_are_finite(make: Callable[..., NDArray[np.float32]]) -> None:
    assert bool(picture(make(3200, dtype=np.float32)).isfinite().all())
