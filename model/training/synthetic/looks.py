"""How a made-up person looks: every number of it, drawn by chance."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from model.training.synthetic.heads import Color

_SKINS: tuple[Color, ...] = (
    (250, 218, 196),
    (240, 196, 165),
    (226, 176, 138),
    (204, 148, 106),
    (165, 108, 72),
    (118, 74, 50),
    (84, 54, 40),
)
_HAIRS: tuple[Color, ...] = (
    (24, 20, 20),
    (52, 36, 28),
    (92, 60, 38),
    (140, 98, 58),
    (196, 156, 98),
    (120, 52, 28),
    (168, 166, 162),
)
_IRISES: tuple[Color, ...] = ((70, 44, 26), (96, 66, 36), (84, 104, 62), (86, 118, 148), (112, 128, 138))


@dataclass(frozen=True, slots=True)
class Look:
    """One person, one light. Lengths in face coordinates (`heads`); what is called a strength is in [0, 1].

    hair_length: y to which it falls beside the face; hairline: y at which it begins, above the head for the bald.
    light: direction towards it, x and y; ambient: its share without direction; warmth: from blue (-1) to orange (1).
    """

    half_width: float
    jaw: float
    skin: Color
    lips: Color
    lip_strength: float
    hair: Color
    hairline: float
    hair_length: float
    fringe: float
    beard: float
    moustache: float
    freckles: float
    age: float
    brow_y: float
    brow_arch: float
    brow_thickness: float
    eye_x: float
    eye_y: float
    eye_half_width: float
    eye_half_height: float
    eye_slant: float
    iris: Color
    nose: float
    nose_width: float
    mouth_y: float
    mouth_half_width: float
    upper_lip: float
    lower_lip: float
    mouth_curve: float
    glasses: float
    glasses_round: float
    glasses_color: Color
    clothes: Color
    light: tuple[float, float]
    ambient: float
    warmth: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """Somebody by chance."""

        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def chance(probability: float) -> float:
            return float(rng.uniform() < probability)

        skin = _between(_SKINS, rng)
        lip_strength = between(0.25, 0.8)
        red = np.array((190.0, 62.0, 74.0)) * between(0.8, 1.1)
        natural = np.array(skin) * (0.92, 0.68, 0.68)
        lips = natural + lip_strength * (red * (0.4 + 0.6 * skin[0] / 255) - natural)
        bald = chance(0.1)
        long_hair = chance(0.4)
        bearded = chance(0.18) * (1 - long_hair)
        return cls(
            half_width=between(0.345, 0.405),
            jaw=between(1.9, 3.2),
            skin=skin,
            lips=_color(lips),
            lip_strength=lip_strength,
            hair=_between(_HAIRS, rng),
            hairline=between(-0.5, -0.4) if bald else between(-0.02, 0.09),
            hair_length=between(0.7, 1.4) if long_hair and not bald else between(0.1, 0.42),
            fringe=between(0.0, 0.06),
            beard=bearded * between(0.5, 0.9),
            moustache=between(0.0, 0.7) * bearded,
            freckles=chance(0.25) * between(0.3, 1.0),
            age=between(0.0, 1.0),
            brow_y=between(0.285, 0.32),
            brow_arch=between(0.005, 0.035),
            brow_thickness=between(0.011, 0.022),
            eye_x=between(0.155, 0.185),
            eye_y=between(0.385, 0.415),
            eye_half_width=between(0.06, 0.076),
            eye_half_height=between(0.025, 0.036),
            eye_slant=between(-0.012, 0.02),
            iris=_between(_IRISES, rng),
            nose=between(0.7, 1.25),
            nose_width=between(0.8, 1.3),
            mouth_y=between(0.755, 0.785),
            mouth_half_width=between(0.122, 0.158),
            upper_lip=between(0.024, 0.042),
            lower_lip=between(0.036, 0.058),
            mouth_curve=between(-0.014, 0.008),
            glasses=chance(0.22),
            glasses_round=between(0.0, 1.0),
            glasses_color=_color(np.full(3, between(10, 70)) + rng.uniform(0, 60, 3)),
            clothes=_color(_muted(rng.uniform(15, 220, 3))),
            light=(between(-0.9, 0.9), between(-0.75, 0.1)),
            ambient=between(0.4, 0.65),
            warmth=between(-1.0, 1.0),
        )


def _between(colors: tuple[Color, ...], rng: np.random.Generator) -> Color:
    """A colour on the way through a list of them, a little off it."""
    at = rng.uniform(0, len(colors) - 1)
    mixed = [np.interp(at, range(len(colors)), channel) for channel in zip(*colors, strict=True)]
    return _color(np.array(mixed) * rng.uniform(0.94, 1.06, 3))


def _muted(color: np.ndarray) -> np.ndarray:
    """The same with half the saturation."""
    return np.asarray(color + 0.5 * (color.mean() - color))


def _color(values: np.ndarray) -> Color:
    red, green, blue = np.clip(values, 0, 255).tolist()
    return red, green, blue
