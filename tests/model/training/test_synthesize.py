"""A set of synthetic clips on disk: the same however it came about."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from model.audio.encoder import WHISPER_TINY
from model.training.__main__ import main
from model.training.errors import DatasetError
from model.training.hearing import encoder_of, heard
from model.training.shards import AUDIO_ENCODER_FILE, ShardReader, Split
from model.training.synthesize import SynthesisConfig, synthesize
from model.training.synthetic.clips import ClipOptions

TINY = SynthesisConfig(clips=3, heldout_clips=1, seed=3, clip=ClipOptions(frames=12, size=32))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def ignore(done: int, total: int) -> None:
    pass


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "set"
    synthesize(folder, TINY, processes=2, on_clip=ignore)
    return folder


def test_an_interrupted_run_goes_on_to_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "set", TINY, processes=1, on_clip=interrupt)
    assert digests(tmp_path / "set") != digests(dataset)
    synthesize(tmp_path / "set", TINY, processes=1, on_clip=ignore)
    assert digests(tmp_path / "set") == digests(dataset)


def test_what_is_there_is_not_made_again(dataset: Path) -> None:
    before, told = digests(dataset), []
    synthesize(dataset, TINY, processes=1, on_clip=lambda done, total: told.append(done))
    assert told == []
    assert digests(dataset) == before


def test_another_seed_is_refused_in_the_same_folder(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["synthesize", str(dataset), "--clips", "3", "--frames", "12", "--size", "32"]
    assert main([*command, "--seed", "4"]) == 1
    assert "other settings" in capsys.readouterr().err
    with pytest.raises(DatasetError):
        synthesize(dataset, SynthesisConfig(3, 1, 3), processes=1, on_clip=ignore)


def test_the_set_reads_back_with_its_truth(dataset: Path) -> None:
    reader = ShardReader(dataset)
    assert [len(places) for split in Split for places in reader.places(split)] == [3, 1]
    for split in Split:
        for place in (place for places in reader.places(split) for place in places):
            clip = reader.clip(place)
            assert set(clip.ground_truth) == {"aperture", "width", "mouth_x", "mouth_y", "face_height"}
            expected = heard(clip.audio, 12, encoder_of(WHISPER_TINY))
            assert np.allclose(clip.audio_features.astype(float), expected.astype(float), atol=1e-2)
    assert (dataset / AUDIO_ENCODER_FILE).exists()
