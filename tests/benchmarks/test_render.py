"""The benchmark of a render: it starts, counts, and leaves its figures for a program."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_flops_of_the_tiny_networks_are_counted_and_written(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    options = ["--weights", "tiny", "--count-only", "--frames", "12", "--steps", "2", "--json", figures]
    done = subprocess.run(
        [sys.executable, "benchmarks/render.py", *options],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counted = json.loads(figures.read_text())["tflop_per_output_frame"]
    networks = {name: tflop for name, tflop in counted.items() if name != "total"}
    assert set(networks) == {"reference_unet", "denoising_unet", "vae_encode", "vae_decode"}
    assert all(tflop > 0 for tflop in networks.values())
    assert counted["total"] == pytest.approx(sum(networks.values()))
    assert "denoising_unet" in done.stdout
