"""The voice in: facts, and samples at any rate.

The file is opened and decoded in a confined process (`model.media.sandbox`), one for each call.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.media.sandbox.decoder import Decoder
from model.media.sandbox.wire import Operation, Request
from model.plan import AudioFacts, MediaLimits, VoiceFormat

ENCODER_RATE_HZ = 16_000
"""The sample rate the audio encoder was trained on."""


def probe_audio(path: Path, limits: MediaLimits) -> AudioFacts:
    """Decode the voice once and say what it holds; the duration is the decoded one.

    Raises NotMedia, NoAudioStream, CorruptMedia, AudioTooShort, SilentAudio, MediaTooLarge, MediaTimeout.
    """
    with Decoder(path, Request(Operation.PROBE_AUDIO, limits)) as decoder:
        return decoder.facts(AudioFacts)


def read_audio_mono_16k(path: Path, limits: MediaLimits | None = None) -> NDArray[np.float32]:
    """The whole voice as (samples,) float32 mono in [-1, 1] at 16 kHz; a channel counts as much as any other.

    Holds 4 bytes per sample: `limits.max_duration_seconds` bounds it. Raises the errors of `probe_audio` but
    AudioTooShort and SilentAudio.
    """
    mono = bytearray()
    for samples in read_samples(path, limits or MediaLimits(), ENCODER_RATE_HZ):
        mono += samples.mean(axis=0, dtype=np.float32).tobytes()
    return np.frombuffer(mono, np.float32)


def voice_format(path: Path, limits: MediaLimits) -> VoiceFormat:
    """What the voice file says of its sound, without decoding it. Raises the errors of `read_audio_mono_16k`."""
    with Decoder(path, Request(Operation.VOICE_FORMAT, limits)) as decoder:
        return decoder.facts(VoiceFormat)


def read_samples(
    path: Path, limits: MediaLimits, rate_hz: int, layout: str | None = None
) -> Iterator[NDArray[np.float32]]:
    """The voice at a sample rate, and in a channel layout if one is given, in runs of (channels, n) float32.

    Raises the errors of `read_audio_mono_16k`.
    """
    request = Request(Operation.SAMPLES, limits, {"rate_hz": rate_hz, "layout": layout})
    with Decoder(path, request) as decoder:
        yield from decoder.samples()
