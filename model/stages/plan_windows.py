"""Stage plan_windows: which frames the network sees together, for every sampling step of a clip."""

from dataclasses import dataclass

from model.windows import WINDOW_FRAMES, Window, distinct_windows


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """All network passes of one clip: steps[i] are the windows of sampling step i.

    num_frames is the length the windows cover, at least 12: a shorter clip is padded to it.
    """

    num_frames: int
    steps: tuple[tuple[Window, ...], ...]

    @property
    def num_passes(self) -> int:
        """How many times the network sees a window."""
        return sum(len(windows) for windows in self.steps)


def plan_windows(num_frames: int, num_inference_steps: int) -> WindowPlan:
    """Plan the windows of a clip of `num_frames` (1 or more) over all sampling steps."""
    if num_frames < 1 or num_inference_steps < 1:
        raise ValueError(f"Nothing to plan: {num_frames} frames, {num_inference_steps} steps.")
    covered = max(num_frames, WINDOW_FRAMES)
    return WindowPlan(covered, tuple(distinct_windows(covered, step) for step in range(num_inference_steps)))
