"""How sure a mean over clips is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `clips` clips, and its interval of 95 % confidence; None where one clip or none has the score."""

    clips: int
    mean: float | None
    low: float | None = None
    high: float | None = None


def bootstrap(values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """The percentile bootstrap of a mean: clips are drawn again with replacement (Efron, 1979). values: one per clip,
    finite. The same values and seed give the same interval."""
    if len(values) < 2:
        return Estimate(len(values), float(values[0]) if values else None)
    scores = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = np.array([scores[rng.integers(0, scores.size, scores.size)].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [(1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0])
    return Estimate(scores.size, float(scores.mean()), float(low), float(high))
