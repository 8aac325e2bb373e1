"""From phonemes to the movement of a mouth: a target for each sound, one running into the next, and lips that close
where they must."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.shards import Phoneme
from model.training.synthetic.speech import PAUSE

Curve = NDArray[np.float64]

BILABIALS = frozenset("mbpʙɸβ")
"""Sounds made with closed lips."""

_RATE_HZ = 250
"""Steps per second of the movement before it is sampled at the frames."""

_LIP_SECONDS, _JAW_SECONDS = 0.032, 0.055
"""Standard deviations of the smoothing: lips are quicker than the jaw. It also makes sounds announce themselves."""

_CLOSING_SECONDS = 0.045
"""How long before and after a bilabial the lips take to close and to open again."""

_SHUT_SHARE_OF_P = 0.6
"""A voiceless stop is hold, burst and breath; the lips open with the burst."""

_SHUT_PAUSE_SECONDS = 0.16
"""Lips close in a silence at least this long."""


@dataclass(frozen=True, slots=True)
class Viseme:
    """Where a sound takes the mouth. aperture, rounding, tongue (raised to the teeth), tuck (lower lip under the upper
    teeth): [0, 1]; width: -1 narrow, 0 at rest, 1 spread."""

    aperture: float
    width: float = 0.0
    rounding: float = 0.0
    tongue: float = 0.15
    tuck: float = 0.0


REST = Viseme(0.0, tongue=0.0)
CLOSED = Viseme(0.0)
_OTHER = Viseme(0.3)

VISEMES: Mapping[str, Viseme] = {
    **dict.fromkeys("mbpɸβ", CLOSED),
    **dict.fromkeys("fvɱʋ", Viseme(0.14, 0.1, tuck=1.0)),
    **dict.fromkeys("θð", Viseme(0.26, 0.15, tongue=1.0)),
    **dict.fromkeys("tdnlɾɫɲʎ", Viseme(0.26, 0.2, tongue=0.85)),
    **dict.fromkeys("szɕʑc", Viseme(0.16, 0.4, tongue=0.45)),
    **dict.fromkeys("ʃʒʂʐ", Viseme(0.2, -0.4, 0.6)),
    **dict.fromkeys("kɡgŋxɣhçʔqχħ", Viseme(0.34)),
    **dict.fromkeys("ɹrʁʀɻ", Viseme(0.28, -0.2, 0.35, 0.4)),
    **dict.fromkeys("wɥʍ", Viseme(0.14, -0.8, 1.0)),
    **dict.fromkeys("jʝʲ", Viseme(0.26, 0.55, tongue=0.4)),
    **dict.fromkeys("iĩ", Viseme(0.3, 0.9)),
    **dict.fromkeys("ɪᵻɨ", Viseme(0.4, 0.55)),
    **dict.fromkeys("eẽ", Viseme(0.48, 0.6)),
    **dict.fromkeys("ɛɛ̃", Viseme(0.65, 0.45)),
    **dict.fromkeys("æ", Viseme(0.85, 0.45)),
    **dict.fromkeys("aɐã", Viseme(0.95, 0.15)),
    **dict.fromkeys("ɑ", Viseme(1.0)),
    **dict.fromkeys("ʌ", Viseme(0.72)),
    **dict.fromkeys("əɘ", Viseme(0.42)),
    **dict.fromkeys("ɜɚɝ", Viseme(0.5, -0.1, 0.2)),
    **dict.fromkeys("ɒ", Viseme(0.78, -0.25, 0.45)),
    **dict.fromkeys("ɔ", Viseme(0.68, -0.35, 0.6)),
    **dict.fromkeys("oõ", Viseme(0.5, -0.6, 0.85)),
    **dict.fromkeys("ʊɵ", Viseme(0.36, -0.6, 0.85)),
    **dict.fromkeys("uɯʉ", Viseme(0.24, -0.85, 1.0)),
    **dict.fromkeys("œ", Viseme(0.55, -0.4, 0.65)),
    **dict.fromkeys("ø", Viseme(0.42, -0.55, 0.85)),
    **dict.fromkeys("yʏ", Viseme(0.26, -0.65, 0.95)),
}
"""By the letters of the IPA. Sounds that are not here take the middle of the road."""


@dataclass(frozen=True, slots=True, eq=False)
class Articulation:
    """What a mouth does in each of F frames, every field (F,). jaw: how far it has dropped, [0, 1]. The others are as
    in Viseme."""

    aperture: Curve
    width: Curve
    rounding: Curve
    tongue: Curve
    tuck: Curve
    jaw: Curve


def is_bilabial(label: str) -> bool:
    """Whether a sound needs closed lips."""
    return label[:1] in BILABIALS


def visemes_of(label: str) -> list[Viseme]:
    """The shapes a sound goes through: two for a diphthong, the second half of an affricate, one otherwise."""
    if label == PAUSE:
        return [REST]
    letters = [letter for letter in label if letter in VISEMES]
    if not letters:
        return [_OTHER]
    if is_bilabial(letters[0]):
        return [CLOSED]
    return [VISEMES[letter] for letter in letters[-2:]]


def articulate(phonemes: Sequence[Phoneme], frames: int, fps: float) -> Articulation:
    """Move a mouth to the phonemes, which follow each other without gaps from 0 s on; frame i shows it at i / fps."""
    steps = int(np.ceil(frames / fps * _RATE_HZ)) + 1
    targets, shut = np.zeros((5, steps)), np.zeros(steps)
    times = np.arange(steps) / _RATE_HZ
    for phoneme in phonemes:
        start, end = phoneme.start_seconds, phoneme.end_seconds
        shapes = visemes_of(phoneme.label)
        for part, shape in enumerate(shapes):
            first, stop = (round((start + (end - start) * k / len(shapes)) * _RATE_HZ) for k in (part, part + 1))
            values = (shape.aperture, shape.width, shape.rounding, shape.tongue, shape.tuck)
            targets[:, first:stop] = np.array(values)[:, None]
        if is_bilabial(phoneme.label) or (phoneme.label == PAUSE and end - start >= _SHUT_PAUSE_SECONDS):
            opens = start + _SHUT_SHARE_OF_P * (end - start) if phoneme.label[:1] == "p" else end
            distance = np.maximum(start - times, times - opens)
            shut = np.maximum(shut, np.clip(1.0 - distance / _CLOSING_SECONDS, 0.0, 1.0))
    lips = np.stack([_smooth(target, _LIP_SECONDS) for target in targets])
    jaw = _smooth(targets[0], _JAW_SECONDS)
    at = np.arange(frames) / fps
    aperture, width, rounding, tongue, tuck, jaw, shut = (
        np.interp(at, times, curve) for curve in (*lips, jaw, _eased(shut))
    )
    open_by = 1.0 - shut
    return Articulation(aperture * open_by, width, rounding, tongue * open_by, tuck * open_by, jaw)


def _eased(values: Curve) -> Curve:
    return np.asarray(values * values * (3.0 - 2.0 * values))


def _smooth(values: Curve, sigma_seconds: float) -> Curve:
    """Gaussian without delay; the ends are held."""
    reach = round(4.0 * sigma_seconds * _RATE_HZ)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (sigma_seconds * _RATE_HZ)) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), weights / weights.sum(), mode="valid")
