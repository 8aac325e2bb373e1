"""`make init`: the secrets of an installation."""

import subprocess
from pathlib import Path

from core.settings import Settings


def read_env(folder: Path) -> dict[str, str]:
    lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_the_secrets_are_long_and_for_their_owner_only(checkout: Path) -> None:
    secrets = read_env(checkout)
    assert min(len(value) for name, value in secrets.items() if name.endswith(("KEY", "PASSWORD"))) >= 20
    assert (checkout / ".env").stat().st_mode & 0o077 == 0
    key = Settings.model_validate({"secret_key": secrets["HIGHSYNC_SECRET_KEY"]}).secret_key
    assert len(key.get_secret_value()) == 64


def test_no_two_installations_share_a_secret(checkout: Path) -> None:
    first = read_env(checkout)
    (checkout / ".env").unlink()
    subprocess.run([checkout / "scripts" / "init.sh"], check=True)
    assert set(first.values()).isdisjoint(read_env(checkout).values())


def test_secrets_that_are_in_use_are_never_replaced(checkout: Path) -> None:
    before = (checkout / ".env").read_bytes()
    again = subprocess.run([checkout / "scripts" / "init.sh"], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert ".env exists already" in again.stderr
    assert (checkout / ".env").read_bytes() == before
