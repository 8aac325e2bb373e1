"""Which source frame is shown when: voice and video brought to one length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, cycle, pairwise, repeat
from math import floor

from model.errors import MediaTooLarge, NoVideoFrames
from model.plan import MediaLimits, SyncMode

_FINEST_SECOND = 100_000_000
"""Durations come as floats; the nearest fraction with a denominator up to this one is the number that was meant."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Output frame i shows source frame source_frames[i] from pts[i] (ticks of the video's time base) on."""

    source_frames: tuple[int, ...]
    pts: tuple[int, ...]
    duration_seconds: float


def plan_timeline(
    source_pts: Sequence[int],
    source_duration: int,
    time_base: Fraction,
    audio_duration_seconds: float,
    sync_mode: SyncMode,
    *,
    max_frames: int = MediaLimits().max_frames,
) -> Timeline:
    """Lay the source frames along the output's duration, which `SyncMode` defines.

    source_pts: ticks of `time_base`, strictly increasing from 0. source_duration: ticks from 0 to the end of the last
    frame. A frame is shown if it starts before the output ends, so the first pass over the source keeps its own times
    and the identity: source_frames[i] == i, pts[i] == source_pts[i].
    Raises NoVideoFrames for an empty source, MediaTooLarge when the output would need more than `max_frames`.
    """
    if not source_pts:
        raise NoVideoFrames("The video holds no frame.")
    if source_pts[0] != 0 or any(later <= sooner for sooner, later in pairwise((*source_pts, source_duration))):
        raise ValueError("source_pts must increase strictly from 0 and end before source_duration")
    audio_duration = Fraction(audio_duration_seconds).limit_denominator(_FINEST_SECOND) / time_base
    duration = _output_duration(Fraction(source_duration), audio_duration, sync_mode)

    source_frames: list[int] = []
    pts: list[int] = []
    start = Fraction(0)
    for index, shown_for in _shows(source_pts, source_duration, sync_mode):
        if start >= duration:
            break
        if len(pts) == max_frames:
            raise MediaTooLarge(f"The dubbed video would have more than {max_frames} frames.")
        source_frames.append(index)
        pts.append(floor(start))
        start += shown_for
    return Timeline(tuple(source_frames), tuple(pts), float(duration * time_base))


def _output_duration(video: Fraction, audio: Fraction, sync_mode: SyncMode) -> Fraction:
    """How long the output is, in the unit of both arguments."""
    match sync_mode:
        case SyncMode.CUT_OFF:
            return min(video, audio)
        case SyncMode.SILENCE:
            return video
        case SyncMode.LOOP | SyncMode.BOUNCE | SyncMode.HOLD:
            return audio


def _shows(
    source_pts: Sequence[int], source_duration: int, sync_mode: SyncMode
) -> Iterator[tuple[int, int | Fraction]]:
    """(source frame, ticks it is shown) in the order of the output, for as long as the output may need."""
    frames = len(source_pts)
    shown_for = [later - sooner for sooner, later in pairwise((*source_pts, source_duration))]
    once = zip(range(frames), shown_for, strict=True)
    match sync_mode:
        case SyncMode.CUT_OFF | SyncMode.SILENCE:
            return once
        case SyncMode.HOLD:
            return chain(once, repeat((frames - 1, Fraction(source_duration, frames))))
        case SyncMode.LOOP:
            return cycle(once)
        case SyncMode.BOUNCE:
            return ((index, shown_for[index]) for index in cycle(chain(range(frames), range(frames - 2, 0, -1))))
