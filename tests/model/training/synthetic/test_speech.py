import numpy as np
import pytest

from model.audio.log_mel import SAMPLE_RATE_HZ
from model.training.synthetic.speech import PAUSE, Speaker, SpeechSynthesizerMissing, Utterance, resample, speak

ANNA = Speaker("en-us+f3", words_per_minute=150, pitch=50)


@pytest.fixture(scope="module")
def cup() -> Utterance:
    return speak("A cup of milk for my mother.", ANNA)


def loudness(utterance: Utterance, start_seconds: float, end_seconds: float) -> float:
    first, stop = (round(seconds * SAMPLE_RATE_HZ) for seconds in (start_seconds, end_seconds))
    return float(np.sqrt(np.mean(utterance.samples[first:stop].astype(np.float64) ** 2)))


def test_the_same_words_sound_the_same(cup: Utterance) -> None:
    again = speak("A cup of milk for my mother.", ANNA)
    assert again.samples.tobytes() == cup.samples.tobytes()
    assert again.phonemes == cup.phonemes


def test_phonemes_cover_the_speech_without_gaps(cup: Utterance) -> None:
    ends = [phoneme.end_seconds for phoneme in cup.phonemes]
    assert [phoneme.start_seconds for phoneme in cup.phonemes] == [0.0, *ends[:-1]]
    assert abs(ends[-1] - cup.duration_seconds) < 1e-3
    assert [phoneme.label for phoneme in cup.phonemes if phoneme.label in "mpf" and phoneme.label] == list("pmfmm")


def test_phonemes_are_where_they_are_heard(cup: Utterance) -> None:
    (p,) = (phoneme for phoneme in cup.phonemes if phoneme.label == "p")
    before = cup.phonemes[cup.phonemes.index(p) - 1]
    hold = loudness(cup, p.start_seconds, p.start_seconds + 0.03)  # the lips hold the air; this voice echoes
    assert loudness(cup, before.end_seconds - 0.03, before.end_seconds) > 6 * hold
    assert loudness(cup, p.end_seconds - 0.03, p.end_seconds) > 1.5 * hold  # they let it go


def test_a_pause_is_silent() -> None:
    spoken = speak("Stop. Go on.", ANNA)
    pauses = [p for p in spoken.phonemes if p.label == PAUSE and p.end_seconds - p.start_seconds > 0.1]
    assert pauses
    assert all(loudness(spoken, p.start_seconds + 0.03, p.end_seconds - 0.03) < 50 for p in pauses)


def test_a_voice_that_nobody_has_is_refused() -> None:
    with pytest.raises(SpeechSynthesizerMissing, match="xx-nobody"):
        speak("Hello.", Speaker("xx-nobody", 150, 50))


def test_resampling_keeps_a_tone() -> None:
    rate = 22_050
    tone = np.rint(8000 * np.sin(2 * np.pi * 441 * np.arange(rate) / rate)).astype(np.int16)
    expected = 8000 * np.sin(2 * np.pi * 441 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
    assert np.abs(resample(tone, rate) - expected).max() < 3
