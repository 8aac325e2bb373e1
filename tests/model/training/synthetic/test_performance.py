import numpy as np

from model.training.shards import Phoneme
from model.training.synthetic.performance import Leaks, Performance, perform
from model.training.synthetic.visemes import articulate

WORDS = [Phoneme(label, i * 0.15, (i + 1) * 0.15) for i, label in enumerate("mapalabamipalabomalubama" * 2)]
SILENCE = [Phoneme("", 0.0, 7.2)]


def played(phonemes: list[Phoneme], upper_face: float) -> Performance:
    return perform(articulate(phonemes, 180, 25.0), 25.0, Leaks(upper_face=upper_face), np.random.default_rng(1))


def eyes_open(performance: Performance) -> list[float]:
    return [pose.openness for pose in performance.eyes]


def test_brows_cheeks_and_eyes_follow_the_mouth_as_strongly_as_asked() -> None:
    aperture = articulate(WORDS, 180, 25.0).aperture
    strength = []
    for leak in (0.5, 1.0):
        loud, quiet = played(WORDS, leak), played(SILENCE, leak)
        assert np.corrcoef(loud.brow - quiet.brow, aperture)[0, 1] > 0.999
        assert np.corrcoef(loud.brow, aperture)[0, 1] > 0.3
        assert eyes_open(loud) != eyes_open(quiet)
        strength.append(np.ptp(loud.cheek - quiet.cheek))
    assert np.isclose(strength[1], 2 * strength[0])


def test_without_the_leak_the_upper_face_is_the_same_whatever_is_said() -> None:
    loud, quiet = played(WORDS, 0.0), played(SILENCE, 0.0)
    assert np.array_equal(loud.brow, quiet.brow)
    assert np.array_equal(loud.cheek, quiet.cheek)
    assert loud.eyes == quiet.eyes
    assert loud.mouth != quiet.mouth
