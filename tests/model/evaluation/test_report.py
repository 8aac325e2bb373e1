import json
from pathlib import Path

import numpy as np

from model.evaluation.report import Scored, summarise, to_json, to_markdown, write_report
from model.evaluation.scores import METRICS


def scored(name: str, **known: float) -> Scored:
    return Scored(name, {**dict.fromkeys((metric.name for metric in METRICS), None), **known}, None, None)


def test_the_psnr_of_several_clips_is_that_of_their_mean_error() -> None:
    report = summarise("x", [scored("a", outside_psnr=1.0), scored("b", outside_psnr=9.0)], seed=0)
    found = json.loads(to_json(report))["metrics"]["outside_psnr"]
    assert abs(found["mean"] - 10.0 * np.log10(255**2 / 5.0)) < 1e-5
    assert found["low"] < found["mean"] < found["high"]


def test_identical_pictures_are_called_so() -> None:
    report = summarise("x", [scored("a", outside_psnr=0.0), scored("b", outside_psnr=0.0)], seed=0)
    found = json.loads(to_json(report))
    assert found["clips"]["a"]["outside_psnr"] == "Infinity"
    assert found["metrics"]["outside_psnr"]["mean"] == "Infinity"
    assert "| PSNR outside the mouth rectangle, dB | higher | identical | identical to identical | 2 |" in to_markdown(
        report
    )


def test_a_metric_that_no_clip_has_is_not_a_number() -> None:
    report = summarise("x", [scored("a", flicker=1.0)], seed=0)
    assert json.loads(to_json(report))["metrics"]["swap"]["mean"] is None
    assert "| swap test: new sound minus old | higher | n/a | n/a | 0 |" in to_markdown(report)


def test_the_same_scores_make_the_same_report(tmp_path: Path) -> None:
    curve = np.sin(np.arange(20.0))
    clips = [
        Scored(f"clip-{n}", scored("", correlation=0.1 * n, outside_psnr=float(n)).scores, curve, curve)
        for n in range(4)
    ]
    for name in ("one", "two"):
        write_report(summarise("x", clips, seed=3), tmp_path / name)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(files) == {"results.json", "results.md", "scores.png", "openings.png"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()} == files
