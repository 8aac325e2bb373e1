"""How well two curves over the same frames agree. None where the question has no answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

MAX_LAG_FRAMES = 5
"""How far a mouth may be early or late to be found: 0.2 s at 25 fps."""

_FEWEST_FRAMES = 3
"""Two frames agree or disagree completely, whatever they are."""

_CONSTANT_BELOW = 1e-6
"""A curve that deviates less does not move, in its own unit."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How many frames a curve comes after another (negative: before), and how they correlate when that is undone."""

    frames: int
    correlation: float


def correlation(one: Curve, other: Curve) -> float | None:
    """Pearson's correlation of two curves (F,), [-1, 1], over the frames that both have (not NaN).

    None when one of them does not move, or there are fewer than three frames. Raises ValueError for curves of different
    lengths.
    """
    if one.shape != other.shape:
        raise ValueError(f"curves of {one.size} and {other.size} frames cannot be compared")
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]
    if one.size < _FEWEST_FRAMES or min(one.std(), other.std()) < _CONSTANT_BELOW:
        return None
    return float(np.clip(np.corrcoef(one, other)[0, 1], -1.0, 1.0))


def best_lag(seen: Curve, asked: Curve, max_lag_frames: int = MAX_LAG_FRAMES) -> Lag | None:
    """By how many frames `seen` (F,) is late, where it agrees best with what was `asked` (F,).

    Of each shift only the frames that both have are compared; among equals the smallest shift wins. None when none of
    the shifts can be judged.
    """
    found: Lag | None = None
    for shift in sorted(range(-max_lag_frames, max_lag_frames + 1), key=abs):
        late = seen[max(shift, 0) : seen.size + min(shift, 0)]
        early = asked[max(-shift, 0) : asked.size - max(shift, 0)]
        agreement = correlation(late, early)
        if agreement is not None and (found is None or agreement > found.correlation + 1e-9):
            found = Lag(shift, agreement)
    return found


def swap(seen: Curve, asked: Curve, original: Curve) -> float | None:
    """The swap test: agreement with the new sound minus agreement with the old, [-2, 2].

    seen, asked, original: (F,) openings of the dubbed mouth, of one that says the new words, and of the mouth as it was
    filmed. A dub that listens is above 0; one that reads the old lips off the picture is below. None when one of them
    does not move.
    """
    new, old = correlation(seen, asked), correlation(seen, original)
    return None if new is None or old is None else new - old
