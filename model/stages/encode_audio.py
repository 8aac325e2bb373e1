"""Stage encode_audio: a voice in, the features that move the lips out."""

import math

import numpy as np

from model.audio.encoder import AudioEncoder
from model.audio.features import COLUMNS_PER_ROW, AudioFeatures
from model.audio.log_mel import HOP_SAMPLES, SAMPLE_RATE_HZ, LogMel
from model.errors import AudioTooShort, CorruptMedia

MIN_SAMPLES = HOP_SAMPLES * COLUMNS_PER_ROW
"""Samples of one feature row, 20 ms."""


def encode_audio(encoder: AudioEncoder, samples: np.ndarray) -> AudioFeatures:
    """Make a voice ready to be asked for its features.

    samples : (n,) float32, mono, 16 kHz, [-1, 1]
    Raises AudioTooShort below 320 samples, CorruptMedia when samples are not finite numbers.
    """
    if len(samples) < MIN_SAMPLES:
        raise AudioTooShort(
            f"The voice lasts {1000 * len(samples) / SAMPLE_RATE_HZ:.0f} ms; it must last 20 ms or more."
        )
    log_mel = LogMel(samples)
    if not math.isfinite(log_mel.peak):
        raise CorruptMedia("The voice holds samples that are not numbers, or far too large ones.")
    return AudioFeatures(encoder, log_mel)
