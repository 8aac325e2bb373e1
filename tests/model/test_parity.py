"""The parity command: what it accepts, what it refuses, and all of it on the published numbers where they are."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.parity.__main__ import GROUPS, main
from model.parity.checks import Check, array_error, equality_error, stats_error, worst
from model.parity.rules import Goldens

GOLDEN = Path(__file__).parents[1] / "golden"

QUICK_GROUPS = ["manifests", "scheduler", "noise", "boxes", "paste", "audio-indices", "motion", "bank"]
"""Of the others, `windows` and `audio` are covered by tests of their own; `step`, `loop` and `clip` take minutes."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the numbers of the group `paste`."""
    for name in ("crop_paste.json", "crop_paste.npz"):
        shutil.copy(GOLDEN / name, tmp_path)
    return tmp_path


def test_published_numbers_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--only", "paste"]) == 0
    header, *rows, summary = capsys.readouterr().out.splitlines()
    assert header.split() == ["error", "allowed", "group:", "check"]
    assert all(row.startswith("ok ") and "paste: " in row for row in rows)
    assert summary.startswith(f"{len(rows)} checks, 0 failed")


def test_numbers_of_another_salt_fail(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--salt", "another", "--only", "paste"]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_one_wrong_number_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Given the crop's box on record a pixel off
    record: dict[str, Any] = json.loads((folder / "crop_paste.json").read_text())
    record["crop_content"]["final_box"][2] += 1
    (folder / "crop_paste.json").write_text(json.dumps(record))
    # Then its check fails, and no other
    assert main([str(folder), "--only", "paste"]) == 1
    failed = [row for row in capsys.readouterr().out.splitlines() if row.startswith("FAIL")]
    assert [row.split("paste: ")[1] for row in failed] == ["crop, box"]


def test_a_missing_file_fails_its_group_and_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--only", "scheduler", "paste"]) == 1
    _, *rows = capsys.readouterr().out.splitlines()
    assert "scheduler.json" in rows[0]
    assert rows[0].startswith("FAIL")
    assert all(row.startswith("ok") for row in rows[1:-1])


def test_an_unknown_group_is_refused(folder: Path) -> None:
    with pytest.raises(SystemExit):
        main([str(folder), "--only", "everything"])


def test_quick_groups_equal_the_published_implementation(goldens_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = main([str(goldens_dir), "--only", *QUICK_GROUPS])
    failed = [row for row in capsys.readouterr().out.splitlines() if row.startswith("FAIL")]
    assert (exit_code, failed) == (0, [])


def test_every_group_of_the_published_numbers_is_known() -> None:
    assert set(QUICK_GROUPS) < set(GROUPS)


def test_the_error_is_relative_to_large_numbers_and_absolute_for_small_ones() -> None:
    assert array_error([101.0, 0.0], [100.0, 0.0]) == pytest.approx(0.01)
    assert array_error([0.11], [0.1]) == pytest.approx(0.01)


@pytest.mark.parametrize("actual", [[1.0, 2.0, 3.0], [[1.0, 2.0]], [1.0, np.nan], [1.0, np.inf]])
def test_results_that_cannot_be_compared_are_infinitely_wrong(actual: Any) -> None:
    assert array_error(actual, [1.0, 2.0]) == np.inf
    assert not Check("shape", array_error(actual, [1.0, 2.0]), tolerance=1e9).passed


@pytest.mark.parametrize("spoil", ["mean", "std", "absmax", "samples"])
def test_every_statistic_counts(spoil: str) -> None:
    values = torch.arange(6.0).view(2, 3)
    stats: dict[str, Any] = {
        "shape": [2, 3],
        "mean": 2.5,
        "std": 35**0.5 / 12**0.5,
        "absmax": 5.0,
        "samples": [0, 2, 5],
    }
    assert stats_error(values, stats) < 1e-6
    stats[spoil] = [0, 2, 6] if spoil == "samples" else stats[spoil] + 1
    assert stats_error(values, stats) > 0.1


def test_the_worst_of_many_is_named_when_it_fails() -> None:
    assert worst("parts", {"good": 0.0, "bad": 2.0}, tolerance=1.0).name == "parts (worst: bad)"
    assert worst("parts", {"good": 0.0, "bad": 2.0}, tolerance=3.0).name == "parts"


def test_nothing_to_compare_is_a_failure() -> None:
    assert not worst("parts", {}, tolerance=1.0).passed
    assert not worst("parts", [], tolerance=1.0).passed


def test_equality_is_all_or_nothing() -> None:
    assert equality_error([1, 2], [1, 2]) == 0
    assert equality_error([1, 2], [1, 3]) == np.inf


def test_rule_weights_depend_on_salt_and_name_alone() -> None:
    rules, salted = Goldens(GOLDEN, salt=""), Goldens(GOLDEN, salt="pepper")
    assert torch.equal(rules.weight("conv.weight", (4, 3)), rules.weight("conv.weight", (4, 3)))
    assert not torch.equal(rules.weight("conv.weight", (4, 3)), salted.weight("conv.weight", (4, 3)))
    assert not torch.equal(rules.weight("conv.weight", (4, 3)), rules.weight("other.weight", (4, 3)))


def test_rule_weights_keep_signals_their_size() -> None:
    rules = Goldens(GOLDEN, salt="")
    assert float(rules.weight("a.weight", (400, 100, 3, 3)).std()) == pytest.approx(1 / 30, rel=0.01)
    assert float(rules.weight("norm.weight", (4000,)).mean()) == pytest.approx(1.0, abs=0.01)
    assert float(rules.weight("norm.bias", (4000,)).std()) == pytest.approx(0.02, rel=0.05)
