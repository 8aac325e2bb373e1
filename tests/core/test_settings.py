"""Settings come from the environment, and say what is wrong with it."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.docs import PAGES
from core.settings import ENV_PREFIX, Settings, SettingsError, load_settings

SECRET = "correct-horse-battery-staple-0123456789"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)


def test_a_secret_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHSYNC_SECRET_KEY", SECRET)
    assert load_settings().secret_key.get_secret_value() == SECRET


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHSYNC_SECRET_KEY", SECRET)
    monkeypatch.setenv("HIGHSYNC_S3_ENDPOINT", "")
    assert load_settings().s3_endpoint is None


def test_every_problem_is_named_with_its_variable_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHSYNC_LEASE_TTL_S", "soon-hunter2")
    monkeypatch.setenv("HIGHSYNC_REDIS_URL", "http://hunter2@redis")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    for variable in ("HIGHSYNC_SECRET_KEY", "HIGHSYNC_LEASE_TTL_S", "HIGHSYNC_REDIS_URL"):
        assert variable in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"secret_key": "short"}, "32"),
        ({"storage_url": "/var/lib/highsync"}, "file:///folder"),
        ({"storage_url": "file://var/lib"}, "file:///folder"),
        ({"storage_url": "s3://"}, "s3://bucket"),
        ({"public_url": "dub.example.org"}, "http"),
        ({"lease_ttl_s": 10, "lease_renew_s": 6}, "LEASE_RENEW_S"),
        ({"s3_access_key": "key"}, "S3_SECRET_KEY"),
        ({"worker_metrics_port": 70000}, "65535"),
        ({"secret_key": "please-CHANGE-ME-please-CHANGE-ME-please"}, "SECRET_KEY has a secret that everybody knows"),
        ({"s3_access_key": "minioadmin", "s3_secret_key": "minioadmin"}, "S3_SECRET_KEY has a secret that everybody"),
        ({"redis_url": "redis://:password@redis:6379/0"}, "REDIS_URL has a secret that everybody knows"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Settings.model_validate({"secret_key": SECRET} | changes)


def test_settings_keep_their_secrets_to_themselves() -> None:
    assert SECRET not in repr(Settings(secret_key=SECRET))


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_written_from_the_code_are_current(name: str) -> None:
    written = (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "run: python -m core.docs"


def test_every_setting_is_on_its_page() -> None:
    page = PAGES["configuration.md"]()
    assert all(f"`{ENV_PREFIX}{name.upper()}`" in page for name in Settings.model_fields)
