"""The `highsync` command, as its user meets it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner, Result

from cli.main import AudioCodecName, GeometryName, SyncModeName, VideoCodecName, app
from model.media.reader import VideoReader, probe_video
from model.plan import AudioCodec, Geometry, MediaLimits, SyncMode, VideoCodec
from tests.media_factory import make_video
from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
QUICK = ["--steps", "1", "--guidance", "1"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "landscape.mp4", width=320, height=240)


def test_the_words_of_the_options_are_those_of_the_model_library() -> None:
    assert get_args(SyncModeName) == tuple(SyncMode)
    assert get_args(GeometryName) == tuple(Geometry)
    assert get_args(VideoCodecName) == tuple(VideoCodec)
    assert get_args(AudioCodecName) == tuple(AudioCodec)


def test_dub_writes_the_file_and_says_what_it_is(clip: Path, line: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    result = run("dub", clip, line, out, *QUICK)
    assert result.exit_code == 0, result.output
    assert sum(1 for _ in VideoReader(out).frames()) == 16
    assert "384x384, 16 frames" in result.stdout
    assert "untrained" in result.stdout


def test_dub_shows_each_stage_and_how_much_of_it_is_done(clip: Path, line: Path, tmp_path: Path) -> None:
    # Given a terminal, where the bar is drawn again and again
    terminal = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-m", "cli", "dub", clip, line, tmp_path / "out.mp4", *QUICK]
    # When a clip is dubbed
    done = subprocess.run(command, cwd=ROOT, env=terminal, capture_output=True, text=True, check=True)
    # Then the bar has named the stages one after the other, and the last is complete
    drawn = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text) for text in re.split(r"[\r\n]", done.stderr)]
    bars = [text.split() for text in drawn if re.search(r"\d+%", text)]
    assert "denoise" in {bar[0] for bar in bars}
    assert bars[-1][0] == "encode_media"
    assert "100%" in bars[-1]


def test_dub_of_a_video_without_a_face_is_one_line_with_its_code(landscape: Path, line: Path, tmp_path: Path) -> None:
    result = run("dub", landscape, line, tmp_path / "out.mp4", *QUICK)
    assert result.exit_code == 1
    (complaint,) = [text for text in result.stderr.splitlines() if text.startswith("error:")]
    assert complaint.startswith("error: no_face_found: ")
    assert not (tmp_path / "out.mp4").exists()


def test_dub_with_weights_that_are_not_there_is_one_line_with_its_code(clip: Path, line: Path, tmp_path: Path) -> None:
    result = run("dub", clip, line, tmp_path / "out.mp4", "--weights", tmp_path / "nothing")
    assert result.exit_code == 1
    assert "error: weights_unavailable: " in result.stderr


def test_dub_into_a_folder_that_is_not_there_is_an_error_in_words(clip: Path, line: Path, tmp_path: Path) -> None:
    result = run("dub", clip, line, tmp_path / "nowhere" / "out.mp4", *QUICK)
    assert result.exit_code == 1
    assert "error: No such file or directory" in result.stderr


def test_dub_of_a_missing_file_is_a_usage_error(line: Path, tmp_path: Path) -> None:
    assert run("dub", tmp_path / "nothing.mp4", line, tmp_path / "out.mp4").exit_code == 2


@pytest.mark.parametrize(
    ("face", "code"),
    [("s0f0", None), ("190,150@0.2", None), ("s0f7", "face_track_not_found"), ("1,1@0", "no_face_at_point")],
)
def test_dub_follows_the_face_it_is_told_to(
    clip: Path, line: Path, tmp_path: Path, face: str, code: str | None
) -> None:
    result = run("dub", clip, line, tmp_path / "out.mp4", *QUICK, "--face", face)
    assert result.exit_code == (0 if code is None else 1), result.output
    assert code is None or f"error: {code}: " in result.stderr


def test_dub_writes_what_the_name_and_the_options_say(clip: Path, line: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mov"
    result = run("dub", clip, line, out, *QUICK, "--codec", "prores", "--audio-codec", "pcm")
    assert result.exit_code == 0, result.output
    assert probe_video(out, MediaLimits()).codec == "prores"


@pytest.mark.parametrize("options", [["--codec", "prores"], ["--audio-codec", "pcm"]])
def test_dub_into_a_container_that_does_not_hold_it_is_a_usage_error(
    clip: Path, line: Path, tmp_path: Path, options: list[str]
) -> None:
    result = run("dub", clip, line, tmp_path / "out.mp4", *QUICK, *options)
    assert result.exit_code == 2
    assert "mp4 does not hold" in result.output


def test_dub_of_segments_leaves_the_rest(clip: Path, line: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    result = run("dub", clip, line, out, *QUICK, "--segment", "0-0.12", "--segment", f"0.2-0.28={line}")
    assert result.exit_code == 0, result.output
    assert "16 frames, 0.64 s; 5 synced, 11 passed through" in " ".join(result.stdout.split())


@pytest.mark.parametrize("segment", ["0.4-0.2", "abc", "0-0.2=/nowhere.wav", "-1-2"])
def test_a_segment_that_is_none_is_a_usage_error(clip: Path, line: Path, tmp_path: Path, segment: str) -> None:
    assert run("dub", clip, line, tmp_path / "out.mp4", *QUICK, f"--segment={segment}").exit_code == 2


def test_probe_as_json_tells_facts_shots_and_faces(clip: Path) -> None:
    result = run("probe", clip, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["video"]["width"], report["video"]["height"], report["video"]["fps"]) == (384, 384, "25")
    assert (report["frames"], report["frames_with_face"]) == (16, 16)
    assert [(face["id"], face["frames"]) for face in report["faces"]] == [("s0f0", 16)]
    (shot,) = report["shots"]
    assert (shot["first"], shot["stop"]) == (0, 16)
    x0, y0, x1, y1 = shot["face_box"]
    assert 0 <= x0 < x1 <= 384
    assert 0 <= y0 < y1 <= 384


def test_probe_as_a_table_names_the_same(clip: Path) -> None:
    result = run("probe", clip)
    assert result.exit_code == 0, result.output
    for text in ("384", "h264", "0..15", "s0f0", "16 of 16"):
        assert text in result.stdout


def test_probe_finds_no_face_without_complaining(landscape: Path) -> None:
    result = run("probe", landscape, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["frames_with_face"] == 0
    assert [warning["code"] for warning in report["warnings"]] == ["no_face_found"]


def test_probe_of_something_else_is_one_line_with_its_code(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")
    result = run("probe", path)
    assert result.exit_code == 1
    assert "error: not_media: " in result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "studio.example.com"])
def test_without_keys_other_machines_are_not_served(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HIGHSYNC_REDIS_URL", redis_server.url)
    monkeypatch.setenv("HIGHSYNC_SECRET_KEY", "a key for tests, long enough by far")
    result = run("api", "--host", host)
    assert result.exit_code == 1
    assert "--allow-unauthenticated" in result.stderr


def test_nor_does_a_whole_service_without_keys_serve_them(tmp_path: Path) -> None:
    result = run("serve", "--host", "0.0.0.0", "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert "--allow-unauthenticated" in result.stderr


def test_the_api_with_wrong_settings_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIGHSYNC_SECRET_KEY", raising=False)
    result = run("api")
    assert result.exit_code == 78
    assert "HIGHSYNC_SECRET_KEY" in result.stderr


def test_the_api_needs_neither_worker_nor_model() -> None:
    program = (
        "import sys, cli.api, service.main; sys.exit(any(n.split('.')[0] in ('worker', 'model') for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
