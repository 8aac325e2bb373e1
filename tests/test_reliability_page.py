"""docs/reliability.md names a test for each fault: here they are looked up."""

import re
from pathlib import Path

import pytest

from tests.chaos.__main__ import BEGIN, END, write_into
from tests.chaos.ledger import MEANING, MUST_BE_ZERO
from tests.chaos.saboteurs import DEEDS, LONG_OUTAGE
from tests.test_security_page import TESTS, functions_in

PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
RUN = PAGE.partition(BEGIN)[2].partition(END)[0]
MOST_FAULTS = "tests/e2e/test_worker_faults.py"  # the page writes … for it


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`(tests/[\w/]+\.py)", PAGE))))
def test_every_file_that_the_page_names_exists(file: str) -> None:
    assert (TESTS.parent / file).is_file()


@pytest.mark.parametrize(("file", "name"), sorted(set(re.findall(r"`(tests/[\w/]+\.py|…)::(\w+)`", PAGE))))
def test_every_test_that_the_page_names_exists(file: str, name: str) -> None:
    assert name in functions_in(TESTS.parent / file.replace("…", MOST_FAULTS))


def test_each_of_the_most_faults_is_on_the_page() -> None:
    tests = {name for name in functions_in(TESTS.parent / MOST_FAULTS) if name.startswith("test_")}
    assert tests <= set(re.findall(r"::(\w+)`", PAGE))


def rows_of(heading: str) -> dict[str, str]:
    """The rows of a table of the chaos run, first cell to the second one."""
    table = RUN.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| ([^|]+?) \| (\d+) \|", table, re.MULTILINE))


def test_the_run_tells_when_and_on_what_it_was_measured() -> None:
    assert re.search(
        r"^Measured on \d{4}-\d\d-\d\d at commit [\w-]+: .*, load before the start [\d.]+\.$", RUN, re.MULTILINE
    )


def test_the_faults_of_the_run_are_those_that_are_caused() -> None:
    faults = rows_of("fault caused")
    assert LONG_OUTAGE in faults
    assert faults.keys() <= DEEDS


def test_the_run_counts_what_is_counted_and_kept_its_promises() -> None:
    counted = rows_of("counted")
    assert list(counted) == list(MEANING.values())
    assert {counted[MEANING[name]] for name in MUST_BE_ZERO} == {"0"}
    assert counted[MEANING["succeeded"]] == counted[MEANING["accepted"]]


def test_a_new_run_takes_the_place_of_the_old_one_and_no_other(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n")
    write_into(page, "new\n")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n\n{END}after\n"
    page.write_text("no place")
    with pytest.raises(ValueError, match="no place"):
        write_into(page, "new\n")
