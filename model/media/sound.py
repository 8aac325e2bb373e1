"""Sound as a stream: a file's, or the whole sound track of a dub, in runs of samples that memory holds with ease."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from model.media.audio import read_samples, voice_format
from model.plan import DubPlan, MediaLimits, Voice, VoiceFormat

Samples = NDArray[np.float32]
"""(channels, n) in [-1, 1]."""

FADE_SECONDS = 0.01
"""How long a voice and the video's own sound take to replace each other, inside the voice's time."""

_BLOCK_SAMPLES = 8192


class Sound(Protocol):
    """Sound that comes at any rate and in any layout. What follows its end is silence."""

    @property
    def format(self) -> VoiceFormat:
        """How it is stored."""

    def runs(self, rate_hz: int, layout: str) -> Iterator[Samples]:
        """All of it, in order. Raises the MediaErrors of its files."""


@dataclass(frozen=True, slots=True)
class FileSound:
    """The sound of one file."""

    path: Path
    limits: MediaLimits

    @property
    def format(self) -> VoiceFormat:
        """See Sound."""
        return voice_format(self.path, self.limits)

    def runs(self, rate_hz: int, layout: str) -> Iterator[Samples]:
        """See Sound. One channel becomes two as loud as it was: FFmpeg alone would take 3 dB from each."""
        if layout == "stereo" and self.format.channels == 1:
            return (np.repeat(run, 2, axis=0) for run in read_samples(self.path, self.limits, rate_hz, "mono"))
        return read_samples(self.path, self.limits, rate_hz, layout)


@dataclass(frozen=True, slots=True)
class Soundtrack:
    """The voices of a plan, each in its time, and the video's own sound around them if the plan keeps it.

    It has the rate and the channels of the video's own sound, or else of the first voice. Around a voice nothing is
    changed: the fades to it and from it are inside its time.
    """

    plan: DubPlan

    @property
    def format(self) -> VoiceFormat:
        """See Sound."""
        return voice_format(
            self.plan.video_path if self.plan.keeps_sound else self.plan.voices[0].path, self.plan.limits
        )

    def runs(self, rate_hz: int, layout: str) -> Iterator[Samples]:
        """See Sound."""
        total = round(self.plan.duration_seconds * rate_hz)
        own, position = self._own_sound(rate_hz, layout), 0
        borders = [(0, 0), *(self._span(voice, rate_hz) for voice in self.plan.voices), (total, total)]
        for index, voice in enumerate(self.plan.voices):
            before, (start, stop), after = borders[index : index + 3]
            yield from _blocks(own, start - position)
            voiced = Tape(FileSound(voice.path, self.plan.limits).runs(rate_hz, layout), layout)
            voiced.skip(round(voice.skip_seconds * rate_hz))
            fade = _Fade(start, stop, opens=before[1] < start, closes=stop < after[0], end=total)
            yield from fade.mixed(voiced, own, max(1, round(FADE_SECONDS * rate_hz)))
            position = stop
        yield from _blocks(own, total - position)

    def _span(self, voice: Voice, rate_hz: int) -> tuple[int, int]:
        start, stop = self.plan.span_seconds(voice)
        return round(start * rate_hz), round(stop * rate_hz)

    def _own_sound(self, rate_hz: int, layout: str) -> "Tape":
        """The video's own sound from frame 0 on."""
        if not self.plan.keeps_sound:
            return Tape(iter(()), layout)
        longest = self.plan.limits.max_duration_seconds
        delay = round(min(max(self.plan.video.sound_start_seconds, -longest), longest) * rate_hz)
        tape = Tape(FileSound(self.plan.video_path, self.plan.limits).runs(rate_hz, layout), layout, max(0, delay))
        tape.skip(max(0, -delay))
        return tape


class Tape:
    """Gives as many samples of a sound as it is asked for: `delay` samples of silence, then its runs, then silence."""

    def __init__(self, runs: Iterator[Samples], layout: str, delay: int = 0) -> None:
        self._runs = runs
        self._delay = delay
        self._left = np.zeros((av.AudioLayout(layout).nb_channels, 0), np.float32)

    def take(self, samples: int) -> Samples:
        """The next samples, (channels, samples)."""
        quiet = min(self._delay, samples)
        self._delay -= quiet
        parts, missing = [self._left], samples - quiet - self._left.shape[1]
        while missing > 0 and (run := next(self._runs, None)) is not None:
            parts.append(run)
            missing -= run.shape[1]
        joined = np.concatenate(parts, axis=1)
        self._left = joined[:, samples - quiet :]
        return np.pad(joined[:, : samples - quiet], ((0, 0), (quiet, max(0, missing))))

    def skip(self, samples: int) -> None:
        """Leave out the next samples."""
        for _ in _blocks(self, samples):
            pass


@dataclass(frozen=True, slots=True)
class _Fade:
    """A voice's time [start, stop), in samples of a sound track of `end` samples.

    opens, closes: whether the own sound is heard right before and right after it.
    """

    start: int
    stop: int
    opens: bool
    closes: bool
    end: int

    def mixed(self, voice: "Tape", own: "Tape", fade: int) -> Iterator[Samples]:
        """The voice over the own sound, each fading for `fade` samples; a voice at an end of the track is not faded."""
        for first in range(self.start, self.stop, _BLOCK_SAMPLES):
            at = np.arange(first, min(first + _BLOCK_SAMPLES, self.stop)) + 0.5
            rise = np.clip((at - self.start) / fade, 0.0, 1.0) if self.start > 0 else np.ones_like(at)
            fall = np.clip((self.stop - at) / fade, 0.0, 1.0) if self.stop < self.end else np.ones_like(at)
            heard = np.minimum(rise, fall)
            kept = np.maximum((1.0 - rise) * self.opens, (1.0 - fall) * self.closes)
            mixed = heard * voice.take(at.size) + kept * own.take(at.size)
            yield mixed.astype(np.float32)


def _blocks(tape: Tape, samples: int) -> Iterator[Samples]:
    for start in range(0, samples, _BLOCK_SAMPLES):
        yield tape.take(min(_BLOCK_SAMPLES, samples - start))
