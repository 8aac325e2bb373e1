"""Temporary files: nothing is left behind, however a worker ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worker.scratch import HOME_PREFIX, open_home

HOLD_A_HOME = """
import sys, time
from pathlib import Path
from worker.scratch import open_home
home = open_home(Path(sys.argv[1]))
(home.jobs / "leftover").write_text("x")
print("ready", flush=True)
time.sleep(60)
"""


def homes(root: Path) -> list[Path]:
    return sorted(root.glob(f"{HOME_PREFIX}*"))


def test_a_folder_is_gone_after_its_attempt_also_after_a_failed_one(tmp_path: Path) -> None:
    home = open_home(tmp_path)

    def fail_in_the_middle() -> None:
        with home.folder("job") as folder:
            (folder / "file").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_the_middle()
    assert list(home.jobs.iterdir()) == []
    home.close()
    assert homes(tmp_path) == []


def test_what_a_killed_child_left_is_cleared(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    (home.jobs / "left").mkdir()
    (home.jobs / "left" / "file").write_text("x")
    home.clear_jobs()
    assert list(home.jobs.iterdir()) == []
    home.close()


def test_a_living_workers_home_is_left_alone_and_a_dead_ones_is_swept(tmp_path: Path) -> None:
    # Given a worker in another process
    command = [sys.executable, "-c", HOLD_A_HOME, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (its_home,) = homes(tmp_path)
        # When a second one starts beside it
        mine = open_home(tmp_path)
        # Then both have a home
        assert set(homes(tmp_path)) == {its_home, mine.path}
        # When the first is killed and a third starts
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    third = open_home(tmp_path)
    # Then the dead one's is gone
    assert set(homes(tmp_path)) == {mine.path, third.path}
    mine.close()
    third.close()


def test_a_link_with_the_name_of_a_home_is_not_followed(tmp_path: Path) -> None:
    precious, root = tmp_path / "precious", tmp_path / "root"
    precious.mkdir()
    root.mkdir()
    (precious / "file").write_text("x")
    (root / f"{HOME_PREFIX}trap").symlink_to(precious)
    open_home(root).close()
    assert (precious / "file").exists()
