"""Fixtures for the worker's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.job_store import MemoryJobStore
from core.queue import MemoryJobQueue
from core.settings import Settings
from tests.worker.house import FlakyStorage, House, Web
from worker.flags import SharedFlags
from worker.scratch import open_home


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings = Settings(secret_key="s" * 32, lease_renew_s=0.1)
    storage = FlakyStorage(tmp_path / "storage", "http://testserver", "s" * 32)
    storage.prepare()
    scratch = open_home(tmp_path / "scratch")
    yield House(MemoryJobStore(), MemoryJobQueue(), storage, Web(), scratch, settings, SharedFlags())
    scratch.close()
