"""`highsync weights` as the compose stack and an operator run it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.model.hub import COMMIT, REPOSITORY, faulty_hub_of

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"

pytestmark = pytest.mark.e2e


class Machine:
    """One with a cache of its own, and a Hub or none."""

    def __init__(self, home: Path) -> None:
        self._environment = {**os.environ, "HF_HOME": str(home), "PYTHONPATH": str(ROOT)}
        self._environment |= {"HIGHSYNC_WEIGHTS": f"hf://{REPOSITORY}", "HIGHSYNC_YUNET_PATH": ""}

    def weights(self, *words: object, hub: str = NOBODY, status: int = 0) -> list[dict[str, Any]]:
        """The lines that `highsync weights` logs."""
        command = [sys.executable, "-m", "cli", "weights", *map(str, words)]
        environment = self._environment | {"HF_ENDPOINT": hub}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return [json.loads(line) for line in done.stderr.splitlines()]


def events(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


def test_weights_are_pulled_once_and_carried_to_a_machine_without_a_network(tmp_path: Path) -> None:
    # Given a Hub whose connection breaks in the middle, with Whisper and a VAE that nobody looks into
    published = tmp_path / "published"
    for name in ("denoising_unet-500.pth", "reference_unet-500.pth", "sd-vae-ft-mse/config.json",
                 "sd-vae-ft-mse/diffusion_pytorch_model.bin", "audio_processor/whisper_tiny.pt"):  # fmt: skip
        (published / name).parent.mkdir(parents=True, exist_ok=True)
        (published / name).write_bytes(name.encode() * 100)
    connected, cut_off, bundle = Machine(tmp_path / "a"), Machine(tmp_path / "b"), tmp_path / "weights.tar"
    # When weights are pulled
    with faulty_hub_of(published, {"denoising_unet-500.pth": [700]}) as hub:
        lines = connected.weights("pull", hub=hub.address)
    # Then the log tells how far it is, by lines of JSON, and every file is checked
    assert len(hub.ranges_of("denoising_unet-500.pth")) == 2
    assert all(line["process"] == "weights" for line in lines)
    assert {"download_started", "download_progress", "file_checked"} <= set(events(lines))
    assert events(lines)[-1] == "weights_checked"
    # When the Hub is gone, then hashes are checked and that is all
    assert events(connected.weights("pull")) == ["file_checked"] * 5 + ["weights_checked"]
    # When they are bundled, and loaded where there has never been a network, then they are there
    assert cut_off.weights("pull", status=1)[-1]["event"] == "weights_unavailable"
    connected.weights("bundle", bundle)
    assert events(cut_off.weights("load", bundle)) == ["bundle_loaded"]
    assert events(cut_off.weights("verify"))[-1] == "weights_checked"


def test_the_face_detector_is_the_one_whose_hash_is_known(tmp_path: Path, yunet_path: Path) -> None:
    # Given a server of YuNet, and of something else of its size
    served, place = tmp_path / "served", tmp_path / "volume" / "yunet.onnx"
    served.mkdir()
    yunet = yunet_path.read_bytes()
    (served / "yunet.onnx").write_bytes(yunet)
    (served / "other.onnx").write_bytes(yunet[::-1])
    machine = Machine(tmp_path / "home")
    with faulty_hub_of(served) as hub:
        address = f"{hub.address}/{REPOSITORY}/resolve/{COMMIT}"
        words = ("pull", "--weights", "tiny", "--yunet", place, "--yunet-url")
        # When the other is pulled, then it is refused and not there
        refused = machine.weights(*words, f"{address}/other.onnx", status=1)
        assert "is not what was announced" in refused[-1]["error"]
        assert list(place.parent.iterdir()) == []
        # When YuNet is, then it is
        machine.weights(*words, f"{address}/yunet.onnx")
    assert place.read_bytes() == yunet
