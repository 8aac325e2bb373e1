"""Fixtures that every test may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import MotoServer, RedisServer

# Tests run beside each other on shared machines, where the time that one example takes says nothing.
settings.register_profile("highsync", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("highsync")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _optional_path(variable: str, default: Path) -> Path:
    path = Path(os.environ.get(variable, default))
    if not path.exists():
        pytest.skip(f"{variable} is not set and {default} does not exist")
    return path


@pytest.fixture(scope="session")
def goldens_dir() -> Path:
    """The full set of golden numbers, where this machine has it."""
    return _optional_path("HIGHSYNC_GOLDENS_DIR", SHARED / "goldens")


@pytest.fixture(scope="session")
def real_media_dir() -> Path:
    """A folder with `speaker.mp4` and `voice.wav`, where this machine has it."""
    return _optional_path("HIGHSYNC_TEST_MEDIA", SHARED / "media")


@pytest.fixture(scope="session")
def yunet_path() -> Path:
    """The YuNet detector file, where this machine has it."""
    return _optional_path("HIGHSYNC_YUNET", SHARED / "weights" / "face_detection_yunet_2026may.onnx")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server of the test's own: durable, and free to be killed, frozen and restarted."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    """One S3 server for the whole session: use a bucket of your own, and do not stop it (start another for that)."""
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server
