"""Samples are a function of seed and number: whoever reads them, and however often a run begins anew."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from model.training.errors import DatasetError
from model.training.samples import (
    Batch,
    ClipOrder,
    StepBatches,
    TrainingSamples,
    choose_frames,
    drops_reference,
    load_batches,
)
from model.training.shards import ClipPlace, ShardReader
from tests.model.training.clips import make_clip, make_dataset


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ShardReader:
    return ShardReader(make_dataset(tmp_path_factory.mktemp("data")))


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


ORDER = ClipOrder(tuple(tuple(ClipPlace(shard, place) for place in range(3)) for shard in range(20)), seed=4)


def test_an_epoch_has_every_clip_once_in_an_order_of_its_own() -> None:
    first, second = ORDER.epoch(0), ORDER.epoch(1)

    assert Counter(first) == Counter(place for shard in ORDER.shards for place in shard) == Counter(second)
    assert first != second
    assert first == ORDER.epoch(0)


def test_an_epoch_reads_few_files_at_a_time() -> None:
    shards = [place.shard for place in ORDER.epoch(0)]

    assert max(len(set(shards[first : first + 12])) for first in range(0, 48, 12)) <= 8
    assert len(set(shards[:6])) > 2


def test_a_sample_is_the_clips_frames_with_their_features(reader: ShardReader) -> None:
    samples = TrainingSamples(reader, seed=1, num_frames=12, latent_channels=4)

    sample = samples[3]

    clip = reader.clip(samples.place(3))
    starts = [i for i in range(5) if np.array_equal(clip.frames[i : i + 12], sample.frames.numpy())]
    features = [clip.audio_features[i : i + 12].astype(np.float32) for i in starts]
    assert any(np.array_equal(each, sample.audio_features.numpy()) for each in features)
    assert any(np.array_equal(frame, sample.reference.numpy()) for frame in clip.frames)
    assert sample.noise.shape == (4, 12, 32, 32)
    assert sample.posterior.shape == (4, 13, 32, 32)


def test_the_same_number_is_the_same_sample_and_others_differ(reader: ShardReader) -> None:
    one, other = (TrainingSamples(reader, seed=1, num_frames=1, latent_channels=4) for _ in range(2))
    list(map(one.__getitem__, range(20)))

    assert same(one[7], other[7])
    assert not torch.equal(one[7].noise, one[8].noise)
    assert not torch.equal(one[7].noise, TrainingSamples(reader, 2, 1, 4)[7].noise)


def test_processes_share_a_step_out_and_parts_do_not_change_it() -> None:
    alone = list(StepBatches(batch_size=8, first_step=3, steps=5))
    shared = [list(StepBatches(8, 3, 5, parts=2, processes=2, rank=rank)) for rank in range(2)]

    assert alone == [list(range(24, 32)), list(range(32, 40))]
    for step, whole in enumerate(alone):
        parts = [shared[rank][2 * step + part] for part in range(2) for rank in range(2)]
        assert [number for part in parts for number in part] == whole


def test_reading_ahead_in_another_process_gives_the_same_batches(reader: ShardReader) -> None:
    samples = TrainingSamples(reader, seed=1, num_frames=2, latent_channels=4)
    here, ahead = (load_batches(samples, StepBatches(2, 4, 8), workers, pinned=False) for workers in (0, 1))

    assert all(same(one, other) for one, other in zip(islice(here, 4), islice(ahead, 4), strict=True))


def test_single_frames_are_far_from_their_reference_where_the_clip_is_long() -> None:
    rng = np.random.default_rng(0)
    long, short = ([choose_frames(rng, frames, 1) for _ in range(200)] for frames in (80, 20))

    assert all(abs(shown.start - reference) >= 30 for shown, reference in long)
    assert {shown.start for shown, _ in short} == set(range(20))


def test_a_run_of_frames_and_its_reference_lie_anywhere_in_the_clip() -> None:
    rng = np.random.default_rng(0)
    chosen = [choose_frames(rng, 20, 12) for _ in range(300)]

    assert {shown.start for shown, _ in chosen} == set(range(9))
    assert {reference for _, reference in chosen} == set(range(20))
    assert all(len(shown) == 12 for shown, _ in chosen)


@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_the_reference_is_dropped_as_often_as_asked(rate: float) -> None:
    dropped = [drops_reference(5, step, rate) for step in range(4000)]

    assert np.mean(dropped) == pytest.approx(rate, abs=0.02)
    assert dropped[:50] == [drops_reference(5, step, rate) for step in range(50)]


def test_clips_that_are_too_short_are_no_training(tmp_path: Path) -> None:
    reader = ShardReader(make_dataset(tmp_path, clips=2, frames=11))

    with pytest.raises(DatasetError, match="no clip of 12 frames"):
        TrainingSamples(reader, seed=0, num_frames=12, latent_channels=4)


def test_the_clip_factory_moves_its_mouth() -> None:
    """What the other tests train on has something to learn."""
    clip = make_clip(0)
    darkness = (clip.frames[:, 176:220, 90:166] == 0).mean(axis=(1, 2, 3))

    assert np.corrcoef(darkness, clip.ground_truth["aperture"])[0, 1] > 0.99
