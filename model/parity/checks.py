"""How far apart two results are, and the record of one comparison."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

EXACT = 0.0
DIFFERENT = math.inf


@dataclass(frozen=True, slots=True)
class Check:
    """One compared result. `error` is max|a - b| / max(1, max|b|); infinite when the two cannot be compared."""

    name: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error lies within the tolerance."""
        return self.error <= self.tolerance


def array_error(actual: Tensor | ArrayLike, expected: Tensor | ArrayLike) -> float:
    """The error measure over whole tensors; infinite when shapes differ or a number is not finite."""
    got, wanted = _numbers(actual), _numbers(expected)
    if got.shape != wanted.shape or not np.isfinite(got).all():
        return DIFFERENT
    return float(np.abs(got - wanted).max(initial=0.0) / max(1.0, np.abs(wanted).max(initial=0.0)))


def stats_error(actual: Tensor | ArrayLike, stats: Mapping[str, Any]) -> float:
    """The error measure against a record of shape, mean, population deviation, largest magnitude and evenly spread
    samples. The scale is the recorded tensor's largest magnitude."""
    got = _numbers(actual)
    if list(got.shape) != list(stats["shape"]) or not np.isfinite(got).all():
        return DIFFERENT
    samples = np.asarray(stats["samples"], dtype=np.float64)
    spread = np.rint(np.linspace(0, got.size - 1, len(samples))).astype(np.int64)
    distances = [
        abs(got.mean() - stats["mean"]),
        abs(got.std() - stats["std"]),
        abs(np.abs(got).max() - stats["absmax"]),
        np.abs(got.ravel()[spread] - samples).max(),
    ]
    return float(max(distances) / max(1.0, stats["absmax"]))


def _numbers(values: Tensor | ArrayLike) -> NDArray[np.float64]:
    """float64, from whatever device."""
    return np.asarray(values.cpu() if isinstance(values, Tensor) else values, dtype=np.float64)


def equality_error(actual: Any, expected: Any) -> float:
    """0 when both are equal, else infinite."""
    return EXACT if actual == expected else DIFFERENT


def worst(name: str, errors: Mapping[str, float] | Iterable[float], tolerance: float) -> Check:
    """One check for many results of a kind. When it fails and the results have names, it names the worst."""
    if not isinstance(errors, Mapping):
        return Check(name, max(errors, default=DIFFERENT), tolerance)
    key = max(errors, key=lambda item: errors[item], default="nothing to compare")
    check = Check(name, errors.get(key, DIFFERENT), tolerance)
    return check if check.passed else Check(f"{name} (worst: {key})", check.error, tolerance)
