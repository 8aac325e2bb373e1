from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from model.audio.log_mel import SAMPLE_RATE_HZ
from model.training.shards import FPS, Split
from model.training.synthetic.clips import ClipOptions, SyntheticClip, make_clip
from model.training.synthetic.filming import Boxes
from model.training.synthetic.performance import Leaks
from model.training.synthetic.texts import SENTENCES, VOICES, sentences
from model.training.synthetic.visemes import is_bilabial

SMALL = ClipOptions(frames=50, size=48)
SEEDS = range(5)


@cache
def clip(seed: int, options: ClipOptions = SMALL, split: Split = Split.TRAIN) -> SyntheticClip:
    return make_clip(seed, 0, split, options)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def test_the_same_number_gives_the_same_bytes_and_another_another_clip() -> None:
    first, again, other = clip(1), make_clip(1, 0, Split.TRAIN, SMALL), make_clip(1, 1, Split.TRAIN, SMALL)
    for name in ("frames", "audio", "aperture", "width", "boxes", "mouth"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes(), name
    assert (first.voice, first.text, first.face, first.phonemes) == (
        again.voice,
        again.text,
        again.face,
        again.phonemes,
    )
    assert not np.array_equal(first.frames, other.frames)


def test_sound_and_frames_are_equally_long() -> None:
    made = clip(1)
    assert made.frames.shape == (50, 48, 48, 3)
    assert made.audio.shape == (50 * SAMPLE_RATE_HZ // FPS,)
    assert made.phonemes[0].start_seconds == 0.0
    assert made.phonemes[-1].end_seconds == 50 / FPS


def test_sound_and_lips_are_in_step() -> None:
    """Open mouths are loud, and nowhere as much as without a shift."""
    longer = [clip(seed, replace(SMALL, frames=100)) for seed in SEEDS]
    agreement = {}
    for shift in range(-5, 6):
        both = [(np.roll(one.aperture, shift), loudness(one)) for one in longer]
        agreement[shift] = np.mean([correlation(opening, heard) for opening, heard in both])
    assert agreement[0] > 0.4
    assert abs(max(agreement, key=lambda shift: agreement[shift])) <= 1


def loudness(made: SyntheticClip) -> np.ndarray:
    runs = made.audio.astype(np.float64).reshape(len(made.frames), -1)
    return np.asarray(np.sqrt((runs**2).mean(axis=1)) ** 0.5)


def test_lips_are_closed_on_m_and_b() -> None:
    shut = [
        made.aperture[frame]
        for made in (clip(seed, replace(SMALL, frames=100)) for seed in SEEDS)
        for phoneme in made.phonemes
        if is_bilabial(phoneme.label) and phoneme.label != "p"
        for frame in range(len(made.frames))
        if phoneme.start_seconds <= frame / FPS < phoneme.end_seconds - 0.004
    ]
    assert len(shut) > 10
    assert max(shut) < 0.001


def test_boxes_of_one_height_hide_the_jaw_and_a_box_per_frame_tells_of_it() -> None:
    """The first leak: the scale of the picture, here the height of the face in px of the crop, follows the lips."""
    agreement = {}
    for boxes in Boxes:
        made = [clip(seed, replace(SMALL, frames=100, boxes=boxes)) for seed in SEEDS]
        agreement[boxes] = np.mean([correlation(one.mouth[:, 2], one.aperture) for one in made if one.aperture.any()])
    assert agreement[Boxes.PER_FRAME] < -0.8
    assert abs(agreement[Boxes.FIXED]) < 0.3


def test_without_the_leak_boxes_per_frame_know_nothing_of_the_mouth() -> None:
    options = replace(SMALL, frames=100, boxes=Boxes.PER_FRAME, leaks=Leaks(chin=0.0))
    made = [clip(seed, options) for seed in SEEDS]
    assert abs(np.mean([correlation(one.mouth[:, 2], one.aperture) for one in made if one.aperture.any()])) < 0.3


def test_boxes_and_leaks_change_nothing_else() -> None:
    plain, other = clip(2), clip(2, replace(SMALL, boxes=Boxes.PER_FRAME, leaks=Leaks(0.0, 0.0)))
    assert plain.audio.tobytes() == other.audio.tobytes()
    assert plain.aperture.tobytes() == other.aperture.tobytes()
    assert plain.face == other.face


def test_held_out_clips_share_no_face_voice_or_sentence_with_training() -> None:
    assert not set(VOICES[Split.TRAIN]) & set(VOICES[Split.HELDOUT])
    for language in SENTENCES:
        train, heldout = set(sentences(language, Split.TRAIN)), set(sentences(language, Split.HELDOUT))
        assert heldout
        assert not train & heldout
        assert train | heldout == set(SENTENCES[language])
    for seed in SEEDS:
        train_clip, heldout_clip = clip(seed), clip(seed, split=Split.HELDOUT)
        assert train_clip.face != heldout_clip.face
        assert heldout_clip.voice.partition("+")[2] in VOICES[Split.HELDOUT]
        assert not np.array_equal(train_clip.frames, heldout_clip.frames)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mouth_is_inside_the_region_that_the_model_generates(seed: int) -> None:
    x, y = clip(seed).mouth[:, 0] / 48, clip(seed).mouth[:, 1] / 48
    assert (x > 40 / 512).all()
    assert (x < 472 / 512).all()
    assert (y > 224 / 512).all()
    assert (y < 480 / 512).all()
