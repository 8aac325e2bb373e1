"""Speech whose phonemes are timed to the sample: espeak-ng's, in a process of its own."""

import json
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.audio.log_mel import SAMPLE_RATE_HZ
from model.training.errors import TrainingError
from model.training.shards import Phoneme

Samples = NDArray[np.int16]

PAUSE = ""
"""The label of a silence between phonemes."""

_PROGRAM = Path(__file__).with_name("espeak.py")
_LONGEST_SECONDS = 30.0

_VOICELESS_STOPS = frozenset("ptkc")
_LONGEST_HOLD_SECONDS = 0.07
_NEARLY_SILENT = 0.12
"""Of the loudest sample before a burst: some voices echo."""


class SpeechSynthesizerMissing(TrainingError):
    """libespeak-ng is not installed, or does not know the voice. It comes with the package espeak-ng."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice of espeak-ng with a variant (`de+f3`), how fast it speaks and how high, [0, 99]."""

    voice: str
    words_per_minute: int
    pitch: int


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """Speech, (n,) int16 mono at 16 kHz, and its phonemes in order, without gaps."""

    samples: Samples
    phonemes: tuple[Phoneme, ...]

    @property
    def duration_seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / SAMPLE_RATE_HZ


def speak(text: str, speaker: Speaker) -> Utterance:
    """Say a text: the same samples for the same text and speaker. Raises SpeechSynthesizerMissing."""
    command = [sys.executable, "-I", "-S", str(_PROGRAM), _library(), speaker.voice]
    command += [str(speaker.words_per_minute), str(speaker.pitch), text]
    result = subprocess.run(command, capture_output=True, check=False, timeout=_LONGEST_SECONDS)  # noqa: S603
    if result.returncode != 0:
        raise SpeechSynthesizerMissing(f"espeak-ng does not speak as {speaker.voice}: {result.stderr.decode()[-200:]}")
    header, _, sound = result.stdout.partition(b"\n")
    facts = json.loads(header)
    native = np.frombuffer(sound, "<i2")
    return Utterance(resample(native, facts["rate_hz"]), _timed(facts["phonemes"], native, facts["rate_hz"]))


@cache
def _library() -> str:
    name = find_library("espeak-ng")
    if name is None:
        raise SpeechSynthesizerMissing(
            "Synthetic clips need libespeak-ng. Install it: apt-get install espeak-ng (Debian, Ubuntu), "
            "brew install espeak-ng (macOS)."
        )
    return name


def _timed(begins: list[tuple[int, str]], sound: Samples, rate_hz: int) -> tuple[Phoneme, ...]:
    """Phonemes from the samples they begin at. Before the first is silence; `(en)` only switches the language."""
    heard = [(0, PAUSE)]
    for sample, label in begins:
        if not label.startswith("("):
            heard.append((_with_hold(sample, label, sound, heard[-1][0], rate_hz), label.strip("_ ")))
    ends = [sample for sample, _ in heard[1:]] + [len(sound)]
    return tuple(
        Phoneme(label, start / rate_hz, end / rate_hz)
        for (start, label), end in zip(heard, ends, strict=True)
        if end > start
    )


def _with_hold(sample: int, label: str, sound: Samples, earliest: int, rate_hz: int) -> int:
    """Where a sound begins. espeak-ng names a voiceless stop at its burst; the silence before that, in which lips or
    tongue hold the air, is part of it."""
    if label[:1] not in _VOICELESS_STOPS:
        return sample
    reach = max(earliest, sample - round(_LONGEST_HOLD_SECONDS * rate_hz))
    swing = np.abs(sound[reach:sample].astype(np.int32))
    loud = np.flatnonzero(swing > _NEARLY_SILENT * swing.max(initial=1))
    return reach + (int(loud[-1]) + 1 if len(loud) else 0)


def resample(samples: Samples, rate_hz: int) -> Samples:
    """Samples (n,) at another rate as (m,) at 16 kHz, band-limited: the spectrum is cut, or continued with nothing."""
    padding = -len(samples) % rate_hz
    spectrum = np.fft.rfft(np.pad(samples.astype(np.float64), (0, padding)))
    length = (len(samples) + padding) // rate_hz * SAMPLE_RATE_HZ
    resampled = np.fft.irfft(spectrum, length) * (SAMPLE_RATE_HZ / rate_hz)
    wanted = len(samples) * SAMPLE_RATE_HZ // rate_hz
    return np.clip(np.rint(resampled[:wanted]), -32768, 32767).astype(np.int16)
