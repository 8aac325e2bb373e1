"""The worker as a process: how it starts, and how it ends when it cannot start."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import RedisServer, free_port
from worker.exit_codes import EX_CONFIG

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120


def run_worker(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a worker that is expected to end by itself."""
    environment = {
        "PATH": os.environ["PATH"],
        "HIGHSYNC_SECRET_KEY": "s" * 32,
        "HIGHSYNC_STORAGE_URL": (folder / "storage").as_uri(),
        "HIGHSYNC_SCRATCH_DIR": str(folder / "scratch"),
        "HIGHSYNC_WORKER_METRICS_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "worker"]
    return subprocess.run(
        command, cwd=ROOT, env=environment | settings, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def missing_weights(folder: Path) -> Path:
    return folder


def damaged_weights(folder: Path) -> Path:
    """One bit is another one than when the weights were saved."""
    import torch

    from model.checkpoint import Checkpoint, Networks, save_folder
    from model.weights import load_model

    tiny = load_model("tiny", device=torch.device("cpu"), dtype=torch.float32)
    networks = Networks(tiny.denoising_unet, tiny.reference_unet, tiny.vae, tiny.audio_encoder)
    save_folder(Checkpoint(networks, tiny.config, name="tiny", trained=False, sha256=""), folder)
    file = max(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("make", [missing_weights, damaged_weights])
def test_weights_that_cannot_be_loaded_end_the_worker_at_start(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    culprit = make(tmp_path / "weights")
    with RedisServer(tmp_path / "redis") as redis:
        ended = run_worker(tmp_path, HIGHSYNC_REDIS_URL=redis.url, HIGHSYNC_WEIGHTS=str(tmp_path / "weights"))
    assert ended.returncode == EX_CONFIG, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "worker_cannot_start" in line]
    assert culprit.name in line
    assert "Traceback" not in ended.stderr
    assert list((tmp_path / "scratch").glob("highsync-worker-*")) == []


def test_a_wrong_setting_ends_the_worker_with_its_name(tmp_path: Path) -> None:
    ended = run_worker(tmp_path, HIGHSYNC_LEASE_TTL_S="soon")
    assert ended.returncode == EX_CONFIG
    assert "HIGHSYNC_LEASE_TTL_S" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_metrics_port_in_use_ends_the_worker_with_its_number(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run_worker(tmp_path, HIGHSYNC_WORKER_METRICS_PORT=port)
    assert ended.returncode == EX_CONFIG
    assert port in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_parent_imports_no_torch() -> None:
    program = "import sys, worker.parent; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
