"""Datasets on disk: what was written is read, killed makers go on, damage is named."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.training.errors import DatasetError
from model.training.shards import DATASET_FILE, Clip, ClipPlace, ShardReader, Split
from tests.model.training.clips import make_clip, make_dataset, open_writer


def same(one: Clip, other: Clip) -> bool:
    truths = one.ground_truth.keys() == other.ground_truth.keys() and all(
        np.array_equal(one.ground_truth[name], other.ground_truth[name]) for name in one.ground_truth
    )
    arrays = zip(
        (one.frames, one.audio_features, one.audio), (other.frames, other.audio_features, other.audio), strict=True
    )
    labels = (one.labels, one.split, one.phonemes) == (other.labels, other.split, other.phonemes)
    return truths and labels and all(np.array_equal(left, right) for left, right in arrays)


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    reader = ShardReader(make_dataset(tmp_path, clips=3))

    read = [reader.clip(place) for places in reader.places(Split.TRAIN) for place in places]

    assert all(same(clip, make_clip(number)) for number, clip in enumerate(read))
    assert len(read) == 3
    assert [reader.labels(place).clip_id for [place] in reader.places(Split.HELDOUT)] == ["clip-3"]


def test_single_frames_and_runs_of_them_are_read_from_the_middle_of_a_clip(tmp_path: Path) -> None:
    reader, clip = ShardReader(make_dataset(tmp_path)), make_clip(1)
    place = ClipPlace(shard=0, place=1)

    assert np.array_equal(reader.frames(place, [3, 4, 5]), clip.frames[3:6])
    assert np.array_equal(reader.frames(place, [9, 2]), clip.frames[[9, 2]])
    assert np.array_equal(reader.audio_features(place, range(2, 8)), clip.audio_features[2:8])


def test_clips_with_too_few_frames_are_left_out(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        for number, frames in enumerate([11, 12, 5, 4]):
            writer.add(make_clip(number, frames))

    assert ShardReader(tmp_path).places(Split.TRAIN, min_frames=12) == [[ClipPlace(0, 1)]]


def test_a_reader_travels_to_another_process(tmp_path: Path) -> None:
    reader = ShardReader(make_dataset(tmp_path))
    reader.frames(ClipPlace(0, 0), [0])

    travelled = pickle.loads(pickle.dumps(reader))

    assert np.array_equal(travelled.frames(ClipPlace(0, 0), [0]), reader.frames(ClipPlace(0, 0), [0]))


def test_a_maker_that_was_killed_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    killed = open_writer(tmp_path, seed=1)
    for number in range(3):
        killed.add(make_clip(number))

    with open_writer(tmp_path, seed=1) as writer:
        assert writer.clip_ids == {"clip-0", "clip-1"}
        writer.add(make_clip(2))

    assert ShardReader(tmp_path).info.clip_ids() == {"clip-0", "clip-1", "clip-2"}


def test_a_dataset_made_with_other_settings_is_not_mixed_with_these(tmp_path: Path) -> None:
    open_writer(tmp_path, seed=1)

    with pytest.raises(DatasetError, match=r"other settings.*'seed': 1"):
        open_writer(tmp_path, seed=2)


def test_a_clip_is_there_once(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.add(make_clip(0))

    with pytest.raises(ValueError, match="two clips clip-0"):
        writer.add(make_clip(0))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"frames": np.zeros((16, 128, 128, 3), np.uint8)}, "frames is"),
        ({"audio_features": np.zeros((16, 4, 8), np.float32)}, "audio_features is .* float32"),
        ({"audio": np.zeros(100, np.int16)}, "not as long"),
        ({"ground_truth": {"aperture": np.zeros(15, np.float32)}}, "aperture is"),
        ({"ground_truth": {"frames": np.zeros(16, np.float32)}}, "cannot be called frames"),
    ],
    ids=["picture size", "number format", "short sound", "short truth", "name taken"],
)
def test_a_clip_that_does_not_fit_is_refused(tmp_path: Path, damage: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_writer(tmp_path).add(replace(make_clip(0), **damage))  # type: ignore[arg-type]


def test_a_folder_without_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no dataset"):
        ShardReader(tmp_path)


def test_a_dataset_of_another_format_is_named(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    path = tmp_path / DATASET_FILE
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))

    with pytest.raises(DatasetError, match="format 2"):
        ShardReader(tmp_path)


def test_a_shard_that_is_cut_short_is_named(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    shard = tmp_path / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])

    with pytest.raises(DatasetError, match="shard-00000"):
        ShardReader(tmp_path).frames(ClipPlace(0, 0), [0])
