"""The benchmark of a training step: it starts, measures, and leaves its figures for a program."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.model.training.runs import as_toml, make_inputs, stage_1_config

ROOT = Path(__file__).parents[2]


def test_a_step_is_measured_and_written(tmp_path: Path) -> None:
    figures, config = tmp_path / "figures.json", tmp_path / "c.toml"
    config.write_text(as_toml(stage_1_config(make_inputs(tmp_path), tmp_path / "run")))

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train_step", "stage1", config, "--steps", "2", "--json", figures],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    measured = json.loads(figures.read_text())
    assert 0.0 < measured["seconds_per_step_median"] <= measured["seconds_per_step_worst"]
    assert 0.0 <= measured["data_wait_share"] < 1.0
    assert measured["samples_per_second"] > 0.0
    assert measured["peak_host_memory_mib"] > 100.0
    assert not (tmp_path / "run").exists()
