"""docs/reliability.md names a test for each fault: here they are looked up."""

import re

import pytest

from tests.test_security_page import TESTS, functions_in

PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
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
