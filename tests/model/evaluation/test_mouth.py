from functools import cache

import cv2
import numpy as np
import pytest

from model.evaluation.agreement import correlation
from model.evaluation.mouth import CLOSED_BELOW, closed_share, mouth_opening
from model.training.shards import Split
from model.training.synthetic.clips import ClipOptions, SyntheticClip, make_clip

SIZE = 128


@cache
def clips() -> list[SyntheticClip]:
    made = [make_clip(3, index, Split.HELDOUT, ClipOptions(frames=50, size=SIZE)) for index in range(5)]
    return [clip for clip in made if clip.aperture.std() > 0.005]


def test_the_opening_seen_in_drawn_faces_is_the_true_one() -> None:
    agreements = [correlation(mouth_opening(c.frames, c.mouth), c.aperture.astype(float)) for c in clips()]
    assert len(agreements) >= 4
    assert min(one for one in agreements if one is not None) > 0.93


def test_the_threshold_tells_drawn_closed_mouths_from_open_ones() -> None:
    seen = np.concatenate([mouth_opening(clip.frames, clip.mouth) for clip in clips()])
    true = np.concatenate([clip.aperture for clip in clips()])
    assert np.mean(seen[true < 0.002] < CLOSED_BELOW) > 0.97
    assert np.mean(seen[true > 0.015] >= CLOSED_BELOW) > 0.97


def test_the_opening_is_in_heights_of_the_face_whatever_the_size_of_the_picture() -> None:
    clip = clips()[0]
    larger = np.stack([cv2.resize(f, (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_CUBIC) for f in clip.frames])
    np.testing.assert_allclose(
        mouth_opening(larger, 2.0 * clip.mouth), mouth_opening(clip.frames, clip.mouth), atol=0.006
    )


def painted_mouth(gap: float, face: float = 200.0) -> np.ndarray:
    """Red lips on skin, parted by white teeth."""
    picture = np.full((256, 256, 3), (210, 170, 140), np.uint8)
    middle, half = 128, round(gap * face / 2)
    picture[middle - half - 8 : middle + half + 8, 96:160] = (180, 70, 70)
    picture[middle - half : middle + half, 100:156] = (230, 225, 215)
    return picture


def test_a_painted_gap_is_measured() -> None:
    gaps = [0.0, 0.02, 0.05, 0.08]
    places = np.tile([128.0, 128.0, 200.0], (len(gaps), 1))
    seen = mouth_opening(np.stack([painted_mouth(gap) for gap in gaps]), places)
    np.testing.assert_allclose(seen, gaps, atol=0.006)


def test_where_no_lips_are_seen_nothing_is_closed() -> None:
    grey = np.full((256, 256, 3), 90, np.uint8)
    for others in ([], [painted_mouth(0.0), painted_mouth(0.0), painted_mouth(0.03)]):
        frames = np.stack([grey, *others])
        opening = mouth_opening(frames, np.tile([128.0, 128.0, 200.0], (len(frames), 1)))
        assert np.isnan(opening).tolist() == [True, *[False] * len(others)]
        assert closed_share(opening[:1]) == 0.0


def test_lips_are_seen_in_all_drawn_faces() -> None:
    assert all(np.isfinite(mouth_opening(clip.frames, clip.mouth)).all() for clip in clips())


def test_the_silence_test_counts_closed_frames() -> None:
    assert closed_share(np.array([0.0, 0.001, 0.03, CLOSED_BELOW])) == 0.5
    with pytest.raises(ValueError, match="no frame"):
        closed_share(np.array([]))
