"""One contract for both storages."""

import uuid
from pathlib import Path

import pytest

from core.settings import Settings
from core.storage import LocalStorage, Storage, make_storage
from tests.servers import MotoServer

SECRET = "correct-horse-battery-staple-0123456789"
PUBLIC_URL = "https://dub.example.org"


@pytest.fixture
def local(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path / "objects", PUBLIC_URL, SECRET)
    storage.prepare()
    return storage


@pytest.fixture
def s3_settings(moto_server: MotoServer) -> Settings:
    return Settings(
        secret_key=SECRET,
        storage_url=f"s3://bucket-{uuid.uuid4().hex}/some/prefix",
        s3_endpoint=moto_server.url,
        s3_public_endpoint="https://files.example.org",
        s3_access_key="access",
        s3_secret_key="secret",
    )


@pytest.fixture
def s3(s3_settings: Settings) -> Storage:
    storage = make_storage(s3_settings)
    storage.prepare()
    return storage


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest) -> Storage:
    chosen: Storage = request.getfixturevalue(request.param)
    return chosen
