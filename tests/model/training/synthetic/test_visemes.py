import numpy as np
import pytest

from model.training.shards import Phoneme
from model.training.synthetic.speech import PAUSE, Speaker, speak
from model.training.synthetic.texts import SENTENCES
from model.training.synthetic.visemes import VISEMES, Articulation, articulate, is_bilabial

FINE_FPS = 200.0


def said(*labels: str, each_seconds: float = 0.12) -> Articulation:
    """The sounds one after the other, sampled finely."""
    phonemes = [Phoneme(label, i * each_seconds, (i + 1) * each_seconds) for i, label in enumerate(labels)]
    return articulate(phonemes, round(len(labels) * each_seconds * FINE_FPS), FINE_FPS)


def middle(curve: np.ndarray, number: int, of: int) -> float:
    return float(curve[round((number + 0.5) / of * len(curve))])


def test_lips_are_closed_on_bilabials_only() -> None:
    opening = said("a", "m", "a", "b", "a", "p", "a", "t", "a").aperture
    assert [middle(opening, number, 9) == 0.0 for number in range(9)] == [False, True] * 3 + [False] * 3
    assert all(middle(opening, number, 9) > 0.6 for number in (0, 2, 4, 6, 8))


def test_lips_open_with_the_burst_of_a_p_but_stay_closed_through_an_m() -> None:
    p, m = said("a", "p", "a").aperture, said("a", "m", "a").aperture
    end = 2 * len(p) // 3 - 2
    assert m[end] == 0.0
    assert p[end] > 0.1


@pytest.mark.parametrize(("wider", "narrower"), [("iː", "uː"), ("ɛ", "ɔ"), ("s", "ʃ")])
def test_spread_sounds_are_wider_than_rounded_ones(wider: str, narrower: str) -> None:
    curve = said(wider, narrower).width
    assert middle(curve, 0, 2) > middle(curve, 1, 2) + 0.3


def test_a_diphthong_moves() -> None:
    curve = said("aɪ", each_seconds=0.3).aperture
    assert curve[len(curve) // 4] > curve[-1] + 0.2


def test_the_mouth_is_closed_in_a_long_pause_and_keeps_moving_in_a_short_one() -> None:
    assert middle(said("a", PAUSE, "a", each_seconds=0.3).aperture, 1, 3) == 0.0
    assert middle(said("a", PAUSE, "a", each_seconds=0.08).aperture, 1, 3) > 0.1


def test_no_sound_of_the_sentences_is_unknown() -> None:
    for language, sentences in SENTENCES.items():
        spoken = speak(" ".join(sentences[:3]), Speaker(language, 190, 50))
        labels = {phoneme.label for phoneme in spoken.phonemes} - {PAUSE}
        assert [label for label in labels if not set(label) & set(VISEMES)] == [], language
        assert any(is_bilabial(label) for label in labels)
