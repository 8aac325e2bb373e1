"""Overlapped context windows: a clip of any length goes through a network that sees 12 frames at a time.

The published sampler slides a window over the clip, shifts it by one frame each step so that seams do not stay on the
same frames, and averages where windows overlap. This file gives the windows of one step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

WINDOW_FRAMES = 12
"""Frames the denoising network sees at once."""

WINDOW_OVERLAP = 3
"""Frames that two neighbouring windows share."""


@dataclass(frozen=True, slots=True)
class Window:
    """One pass of the network: frames [first, first + 12) go in, the predictions of `targets` are kept."""

    first: int
    targets: tuple[int, ...]

    @property
    def frames(self) -> tuple[int, ...]:
        """The clip's frames the network sees, in order."""
        return tuple(range(self.first, self.first + WINDOW_FRAMES))

    @property
    def positions(self) -> tuple[int, ...]:
        """Where the targets lie inside the window, 0..11."""
        return tuple(target - self.first for target in self.targets)


def sliding_frames(num_frames: int, step: int) -> Iterator[tuple[int, ...]]:
    """The frames under each position of the sliding window at one sampling step, in order.

    A window that reaches over the end goes on at the start of the clip; entries that the shift puts outside the clip
    are left out. Every result is non-empty and ascending but for that one turn.
    """
    offset = step % WINDOW_FRAMES
    total = num_frames + offset
    if total <= WINDOW_FRAMES:
        yield tuple(range(num_frames))
        return
    for start in range(0, total, WINDOW_FRAMES - WINDOW_OVERLAP):
        shifted = ((start + position) % total - offset for position in range(WINDOW_FRAMES))
        yield tuple(frame for frame in shifted if 0 <= frame < num_frames)


def published_windows(num_frames: int, step: int) -> tuple[Window, ...]:
    """The windows of one sampling step as the published program runs them, repeated ones included.

    num_frames : 12 or more; the windows of a shorter clip reach beyond it
    """
    return tuple(_window_over(frames) for frames in sliding_frames(num_frames, step))


def distinct_windows(num_frames: int, step: int) -> tuple[Window, ...]:
    """The windows of one sampling step with repeated network passes joined; first come, first kept.

    Joined windows see the same frames, so they predict the same. The published program counts such a prediction once
    per repetition and then divides by the count; no frame lies in more than two windows of a step, so a frame counted
    twice by the same pass has that pass's prediction as its average, exactly as if it had been counted once.
    """
    targets: dict[int, set[int]] = {}
    for window in published_windows(num_frames, step):
        targets.setdefault(window.first, set()).update(window.targets)
    return tuple(Window(first, tuple(sorted(kept))) for first, kept in targets.items())


def _window_over(frames: tuple[int, ...]) -> Window:
    """Complete the frames of a sliding position to 12 consecutive ones: forwards at the clip's start, else backwards
    from the latest frame, which leaves the part that went on at the clip's start to its own window."""
    if frames[0] == 0:
        return Window(0, frames)
    latest = max(frames)
    return Window(latest - WINDOW_FRAMES + 1, frames[: frames.index(latest) + 1])
