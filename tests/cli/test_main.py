"""The `highsync` program: quick to answer, clear when it refuses."""

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from cli.main import app
from tests.e2e.house import voice

REMOTE = ("submit", "batch", "status", "watch", "cancel", "download")
ROOT = Path(__file__).parents[2]
HEAVY = [
    "av",
    "cv2",
    "diffusers",
    "dlib",
    "fastapi",
    "httpx",
    "model",
    "numpy",
    "service",
    "torch",
    "transformers",
    "worker",
]


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    # Given a program that asks for help and then says which of the heavy modules it has
    program = f"""
import sys
from cli.main import app
app(["--help"], standalone_mode=False)
print("loaded:", sorted(set({HEAVY}) & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    # Then every command is named, and none is loaded
    assert result.returncode == 0, result.stderr
    for command in ("dub", "probe", "demo", "serve", "api", "worker", "keys", "weights", *REMOTE):
        assert f"  {command} " in result.stdout
    assert "loaded: []" in result.stdout


def test_dub_of_a_file_that_is_no_video_is_one_line_with_its_code(tmp_path: Path) -> None:
    # Given a text that calls itself a video
    notes, out = tmp_path / "notes.mp4", tmp_path / "out.mp4"
    notes.write_text("not a video")
    # When it is to be dubbed
    result = CliRunner().invoke(app, ["dub", str(notes), str(voice(tmp_path / "line.wav", 0.4)), str(out)])
    # Then one line says what is wrong and what to do, without a trace, and nothing is left behind
    assert result.exit_code == 1
    (complaint,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert complaint.startswith("error: not_media: ")
    assert "Send mp4" in complaint
    assert isinstance(result.exception, SystemExit)
    assert not out.exists()
