import json
from pathlib import Path

import numpy as np
import pytest

from model.evaluation.__main__ import main
from model.evaluation.folder import MANIFEST, Manifest
from model.evaluation.pictures import generated_rectangle
from model.evaluation.scores import METRICS
from model.training.shards import Split
from model.training.synthetic.clips import ClipOptions, make_clip
from tests.media_factory import make_video

LOSSLESS = {"crf": "0", "preset": "ultrafast"}
SIZE, FRAMES = 96, 30
RECTANGLE = generated_rectangle((0, 0, SIZE, SIZE), SIZE, SIZE)


def write(path: Path, frames: np.ndarray) -> str:
    make_video(
        path, width=SIZE, height=SIZE, frames=len(frames), pictures=list(frames), pixel_format="yuv444p",
        options=LOSSLESS, b_frames=0,
    )  # fmt: skip
    return path.name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of a system that is as good as the truth, one of which has to be silent for its first second; and one
    clip about which nothing is known."""
    folder = tmp_path_factory.mktemp("results")
    clips = []
    for index in range(2):
        clip = make_clip(3, index, Split.HELDOUT, ClipOptions(frames=FRAMES, size=SIZE))
        truth = {
            "asked": clip.aperture.tolist(),
            "original": np.roll(clip.aperture, 9).tolist(),
            "mouth": clip.mouth.tolist(),
        }
        (folder / f"{index}.json").write_text(json.dumps(truth))
        filmed = clip.frames.copy()
        filmed[:, *RECTANGLE] //= 2
        clips.append(
            {
                "name": f"clip-{index}",
                "result": write(folder / f"{index}.mp4", clip.frames),
                "source": write(folder / f"{index}-filmed.mp4", filmed),
                "reference": f"{index}.mp4",
                "truth": f"{index}.json",
            }
        )
    clips[0]["silences"] = [[0.0, 0.2]]
    clips.append({"name": "unknown", "result": "0.mp4"})
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "system": "the truth", "clips": clips}))
    return folder


@pytest.fixture(scope="module")
def results(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    assert main([str(folder), "--out", str(out)]) == 0
    return out


def test_a_system_that_is_right_scores_so(results: Path) -> None:
    found = json.loads((results / "results.json").read_text())
    metrics = found["metrics"]
    assert metrics["correlation"]["mean"] > 0.9
    assert metrics["correlation"]["low"] <= metrics["correlation"]["mean"] <= metrics["correlation"]["high"]
    assert metrics["lag"]["mean"] == 0.0
    assert metrics["swap"]["mean"] > 0.3
    assert metrics["seam"]["mean"] < -10.0  # it is the source that has a step there
    assert metrics["outside_psnr"]["mean"] > 45.0  # not infinite: two px share their chroma across the edge
    assert metrics["mouth_psnr"]["mean"] == "Infinity"
    assert metrics["mouth_ssim"]["mean"] == pytest.approx(1.0)
    assert found["absent"] == ["FID", "LPIPS", "CSIM", "LSE-C", "LSE-D"]


def test_what_is_not_known_is_not_scored(results: Path) -> None:
    found = json.loads((results / "results.json").read_text())
    unknown = found["clips"]["unknown"]
    assert {name for name, value in unknown.items() if value is not None} == {"flicker"}
    assert found["metrics"]["silence"]["clips"] == 1
    assert found["metrics"]["correlation"]["clips"] == 2
    assert found["metrics"]["flicker"]["clips"] == 3


def test_the_table_names_what_is_absent(results: Path) -> None:
    table = (results / "results.md").read_text()
    assert "| opening, correlation with the sound's | higher | 0." in table
    assert "need weights that do not ship: FID, LPIPS" in table


def test_the_example_of_the_page_is_a_manifest() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "evidence.md").read_text(encoding="utf-8")
    example = Manifest.model_validate_json(page.partition("```json\n")[2].partition("```")[0])
    assert example.clips[0].silences == ((0.0, 5.0),)


def test_the_page_names_every_metric() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert [metric.name for metric in METRICS if f"`{metric.name}`" not in page] == []


BROKEN = {
    "no manifest": (None, "cannot be read"),
    "no clip": ({"clips": []}, "names no clip"),
    "a misspelt name": ({"clips": [{"name": "a", "result": "0.mp4", "sorce": "0.mp4"}]}, "sorce"),
    "a name twice": ({"clips": [{"name": "a", "result": "0.mp4"}] * 2}, "more than one clip a"),
    "no video": ({"clips": [{"name": "a", "result": "gone.mp4"}]}, "no video"),
    "not a video": ({"clips": [{"name": "a", "result": "0.json"}]}, "not a video"),
    "a reference of another size": (
        {"clips": [{"name": "a", "result": "0.mp4", "reference": "small.mp4"}]},
        "and reference (2 frames, 64x48 px) differ",
    ),
    "truth of other frames": ({"clips": [{"name": "a", "result": "0.mp4", "truth": "short.json"}]}, "but 2 of `asked`"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_folder_that_cannot_be_scored_says_why(
    case: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, message = BROKEN[case]
    for name in ("0.mp4", "0.json"):
        (tmp_path / name).symlink_to(folder / name)
    make_video(tmp_path / "small.mp4", frames=2)
    (tmp_path / "short.json").write_text('{"asked": [0.0, 0.1]}')
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(json.dumps({"format": 1, "system": "x", **manifest}))
    assert main([str(tmp_path)]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()
