"""The log-mel picture of a voice, as Whisper's encoder was trained to see it (openai/whisper, audio.py), a segment at a
time so that memory does not grow with the length of the voice."""

import functools

import numpy as np
import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

SAMPLE_RATE_HZ = 16_000
FFT_SAMPLES = 400
HOP_SAMPLES = 160
MEL_BINS = 80
SEGMENT_COLUMNS = 3000
"""Columns of one segment, 30 seconds: what the encoder takes at once."""

POWER_FLOOR = 1e-10
RANGE_BELOW_PEAK = 8.0
"""Decades below the loudest value of the whole voice at which a value is cut off."""


class LogMel:
    """The log-mel picture of one voice: `columns` columns, one per 10 ms, in `segments` segments.

    samples : (n,) float32, mono, 16 kHz, [-1, 1], at least one hop long

    The picture is scaled by the loudest value of the whole voice, so all of it is looked through once, here.
    """

    def __init__(self, samples: np.ndarray) -> None:
        self._samples = samples
        self.columns = len(samples) // HOP_SAMPLES
        self.segments = -(-self.columns // SEGMENT_COLUMNS)
        self.peak = float(torch.stack([self._log_power(index).max() for index in range(self.segments)]).max())

    def columns_of(self, index: int) -> int:
        """How many columns of segment `index` are voice; the rest of it is padding."""
        return min(SEGMENT_COLUMNS, self.columns - index * SEGMENT_COLUMNS)

    def segment(self, index: int) -> Tensor:
        """(80, 3000) float32. Padded with zeros after scaling, which is not silence but what was published."""
        scaled = (self._log_power(index).clamp(min=self.peak - RANGE_BELOW_PEAK) + 4.0) / 4.0
        return torch.nn.functional.pad(scaled, (0, SEGMENT_COLUMNS - scaled.shape[1]))

    def _log_power(self, index: int) -> Tensor:
        """log10 of the mel power in segment `index`, (80, columns_of(index)), floored at 1e-10."""
        first = index * SEGMENT_COLUMNS
        samples = self._samples_under(first, first + self.columns_of(index))
        window = torch.hann_window(FFT_SAMPLES)
        spectrum = torch.stft(samples, FFT_SAMPLES, HOP_SAMPLES, window=window, center=False, return_complex=True)
        return (mel_filters() @ spectrum.abs().square()).clamp(min=POWER_FLOOR).log10()

    def _samples_under(self, first_column: int, stop_column: int) -> Tensor:
        """The samples that columns [first, stop) look at. A column is centred on its time; beyond both ends of the
        voice its samples are mirrored."""
        start = first_column * HOP_SAMPLES - FFT_SAMPLES // 2
        stop = (stop_column - 1) * HOP_SAMPLES + FFT_SAMPLES // 2
        inside = self._samples[max(start, 0) : stop]
        before = max(-start, 0)
        after = (stop - start) - before - len(inside)
        return torch.from_numpy(np.pad(inside, (before, after), mode="reflect"))


@functools.cache
def mel_filters() -> Tensor:
    """(80, 201) float32: triangular filters on Slaney's mel scale, each of the same area."""
    filters = mel_filter_bank(
        FFT_SAMPLES // 2 + 1, MEL_BINS, 0.0, SAMPLE_RATE_HZ / 2, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
    )
    return torch.from_numpy(filters.T).float()
