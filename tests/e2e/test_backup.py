"""An installation that comes back from a backup, and one that was left by an earlier version, go on where they were."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from client import HighSync, NotAllowed
from core.backup import restore
from tests.data_folder import SECRETS, stopped_stack
from tests.furnish import FOR_EVER, Furniture, furnish
from tests.stub_stack import StubStack

pytestmark = pytest.mark.e2e

RECORDED = Path(__file__).parents[1] / "golden" / "installation-0.1.0"
TIMEOUT_S = 180.0


def restored(backup: Path, data_dir: Path) -> StubStack:
    """A stack of which only the data is there yet: what the backup has."""
    stack = StubStack(data_dir, settings=FOR_EVER)
    with stopped_stack(data_dir) as (redis_url, storage):
        restore(redis_url, storage, backup)
    shutil.copy(backup / SECRETS, data_dir)
    return stack


def check_that_it_goes_on(stack: StubStack, there: Furniture, folder: Path) -> None:
    """Every promise that the service had made before, and new jobs with what it had been given."""
    with HighSync(stack.url, there["api_key"]) as client:
        assert [job.id for job in client.jobs()][-2:] == [there["waiting"], there["finished"]]
        client.download(there["finished"], folder / "result.mp4")
        assert sha256((folder / "result.mp4").read_bytes()).hexdigest() == there["result_sha256"]
        assert client.wait(there["waiting"], TIMEOUT_S).status == "succeeded"
        again = client.submit(there["video"], there["voice"], seed=3)
        assert client.wait(again.id, TIMEOUT_S).status == "succeeded"
    with HighSync(stack.url) as stranger, pytest.raises(NotAllowed):
        list(stranger.jobs())


def test_what_was_accepted_before_a_backup_is_there_after_its_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a backup of a running service, which has taken another job since
    backup = tmp_path / "backup"
    with StubStack(tmp_path / "old", settings=FOR_EVER) as stack:
        there = furnish(stack, tmp_path)
        with monkeypatch.context() as service:
            for name, value in stack.environment().items():
                service.setenv(name, value)
            done = CliRunner().invoke(app, ["backup", str(backup)])
        assert done.exit_code == 0, done.output
        with HighSync(stack.url, there["api_key"]) as client:
            client.submit(there["video"], there["voice"], seed=4)
    shutil.copy(tmp_path / "old" / SECRETS, backup)
    shutil.rmtree(tmp_path / "old")
    # When it is restored elsewhere, Then
    with restored(backup, tmp_path / "new") as stack:
        check_that_it_goes_on(stack, there, tmp_path)


def test_what_an_earlier_version_has_accepted_is_taken_over(tmp_path: Path) -> None:
    """The records and files are those that version 0.1.0 has left: see tests/data_folder.py."""
    there: Furniture = json.loads((RECORDED / "furniture.json").read_text())
    with restored(RECORDED, tmp_path / "data") as stack:
        check_that_it_goes_on(stack, there, tmp_path)
