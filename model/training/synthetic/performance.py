"""How a head plays what its mouth says: it sways, blinks, and, as faces do, betrays the mouth elsewhere."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.synthetic.drawing import EyePose, MouthPose
from model.training.synthetic.visemes import Articulation

Curve = NDArray[np.float64]

_BLINK_SECONDS = 0.2
_BLINKS_PER_SECOND = 0.25


@dataclass(frozen=True, slots=True)
class Leaks:
    """How strongly the rest of a face tells what the mouth does (arXiv 2605.16918, data leakage); 0 is not at all.

    chin: the chin goes down with the jaw, and the face's box grows. upper_face: brows, cheeks and lower lids move
    with the opening of the mouth.
    """

    chin: float = 1.0
    upper_face: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Performance:
    """What a head does in each of F frames; every curve (F,).

    turn: (F, 2) yaw and pitch, radians. brow, cheek, chin: see `scene.Pose`.
    """

    mouth: tuple[MouthPose, ...]
    eyes: tuple[EyePose, ...]
    turn: Curve
    brow: Curve
    cheek: Curve
    chin: Curve


def perform(said: Articulation, fps: float, leaks: Leaks, rng: np.random.Generator) -> Performance:
    """Play an articulation. What the leaks add does not change what else the rng decides."""
    frames = len(said.aperture)
    vigour = rng.uniform(0.75, 1.1)
    turn = np.stack([0.2 * wander(frames, fps, rng), 0.1 * wander(frames, fps, rng)], axis=1)
    brow = 0.35 * wander(frames, fps, rng)
    cheek = 0.2 * wander(frames, fps, rng)
    gaze = np.stack([0.25 * wander(frames, fps, rng), 0.12 * wander(frames, fps, rng)], axis=1)
    lids = _lids(frames, fps, rng)
    told = leaks.upper_face * said.aperture
    squint = np.clip(0.15 + 0.5 * cheek + 0.8 * told, 0.0, 1.0)
    mouth = np.stack(
        [vigour * said.aperture, said.width, said.rounding, said.tongue, said.tuck, vigour * said.jaw], axis=1
    )
    return Performance(
        mouth=tuple(MouthPose(*row) for row in mouth.tolist()),
        eyes=tuple(
            EyePose(openness, low, (right, down))
            for openness, low, (right, down) in zip(
                (lids * np.clip(0.9 + 0.35 * told, 0.0, 1.25)).tolist(), squint.tolist(), gaze.tolist(), strict=True
            )
        ),
        turn=turn,
        brow=brow + 0.9 * told,
        cheek=cheek + 0.9 * told,
        chin=leaks.chin * vigour * said.jaw,
    )


def wander(frames: int, fps: float, rng: np.random.Generator) -> Curve:
    """A slow movement around 0, mostly within [-1, 1]: three sines below 0.7 Hz."""
    times = np.arange(frames)[:, None] / fps
    rates, starts = rng.uniform(0.05, 0.7, 3), rng.uniform(0.0, 2.0 * np.pi, 3)
    weights = np.array([0.55, 0.3, 0.15])
    return np.asarray(np.sin(2.0 * np.pi * rates * times + starts) @ weights)


def _lids(frames: int, fps: float, rng: np.random.Generator) -> Curve:
    """How far the eyes are open, with blinks."""
    times = np.arange(frames) / fps
    count = rng.poisson(_BLINKS_PER_SECOND * frames / fps)
    lids = np.ones(frames)
    for middle in rng.uniform(0.0, frames / fps, count):
        lids = np.minimum(lids, np.clip(np.abs(times - middle) / (0.5 * _BLINK_SECONDS), 0.05, 1.0))
    return lids
