"""A folder of all sorts of videos becomes a dataset and a report."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.training.__main__ import main
from model.training.prepare import REPORT_FILE, split_of
from model.training.shards import ShardReader, Split
from tests.media_factory import make_video
from tests.model.training.talking_videos import heads

CONFIG = """
crop_size = 64
heldout_share = 0.0
[filters]
min_seconds = 1.0
min_face_height = 80.0
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "good").mkdir()
    heads(folder / "good" / "one.mp4", 30, [320])
    heads(folder / "two_faces.mp4", 30, [160, 480])
    make_video(folder / "faceless.mp4", width=320, height=240, frames=30, audio_seconds=1.2)
    whole = (folder / "good" / "one.mp4").read_bytes()
    (folder / "corrupt.mp4").write_bytes(whole[:2000] + bytes(len(whole) // 2))
    (folder / "notes.txt").write_text("no video")
    return folder


def prepare(videos: Path, folder: Path) -> int:
    config = folder.with_suffix(".toml")
    config.write_text(CONFIG)
    return main(["prepare", str(videos), str(folder), "--config", str(config), "--processes", "1"])


def report_of(folder: Path) -> dict[str, tuple[int, list[str]]]:
    """How many clips each video gave, and the reasons against the rest."""
    videos = json.loads((folder / REPORT_FILE).read_bytes())["videos"]
    return {name: (len(one["kept"]), [drop["reason"] for drop in one["dropped"]]) for name, one in videos.items()}


def test_good_videos_become_clips_and_the_others_lines_of_the_report(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(videos, tmp_path / "set") == 0
    assert report_of(tmp_path / "set") == {
        "good/one.mp4": (1, []),
        "two_faces.mp4": (0, ["several_faces"]),
        "faceless.mp4": (0, ["no_face"]),
        "corrupt.mp4": (0, ["unreadable"]),
        "notes.txt": (0, ["unreadable"]),
    }
    said = capsys.readouterr().out
    assert "5 files, 1 clips" in said
    assert "2 unreadable" in said

    reader = ShardReader(tmp_path / "set")
    ((place,),) = reader.places(Split.TRAIN)
    clip = reader.clip(place)
    assert clip.labels.clip_id == "good/one.mp4@0.00"
    assert clip.frames.shape == (30, 64, 64, 3)
    assert clip.audio.shape == (30 * 640,)
    assert np.isfinite(clip.audio_features).all()

    shards = {path.name: path.read_bytes() for path in (tmp_path / "set").glob("shard-*")}
    assert prepare(videos, tmp_path / "set") == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "set").glob("shard-*")} == shards


def test_a_folder_or_setting_that_is_not_there_is_named(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", str(tmp_path / "nowhere"), str(tmp_path / "set")]) == 1
    assert "nowhere is not a folder" in capsys.readouterr().err
    config = tmp_path / "wrong.toml"
    config.write_text("[filters]\nmin_second = 3\n")
    assert main(["prepare", str(videos), str(tmp_path / "set"), "--config", str(config)]) == 1
    assert "min_second" in capsys.readouterr().err


def test_all_of_a_video_is_in_one_split_whatever_lies_beside_it() -> None:
    names = [f"video-{number}.mp4" for number in range(1000)]
    heldout = [name for name in names if split_of(name, 0.1) is Split.HELDOUT]
    assert 60 < len(heldout) < 140
    assert all(split_of(name, 0.2) is Split.HELDOUT for name in heldout)
    assert {split_of(name, 0.0) for name in names} == {Split.TRAIN}


def test_a_real_clip_is_prepared(real_media_dir: Path, yunet_path: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "speaker.mp4").symlink_to(real_media_dir / "speaker.mp4")
    command = ["prepare", str(tmp_path / "videos"), str(tmp_path / "set"), "--yunet", str(yunet_path)]
    (tmp_path / "small.toml").write_text("crop_size = 128\nheldout_share = 0.0\n")
    assert main([*command, "--config", str(tmp_path / "small.toml"), "--processes", "1"]) == 0
    assert report_of(tmp_path / "set") == {"speaker.mp4": (2, [])}
