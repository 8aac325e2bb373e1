"""docs/security.md names a test for each attack it claims to answer: here they are looked up."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
ATTACKS = 59

NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))
ROWS = re.findall(r"^\| (\d+) \| (.*) \| (.*) \| ?(.*?) ?\|$", PAGE, re.MULTILINE)


def functions_in(path: Path) -> set[str]:
    """The names of all functions in a file, of its classes as well."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_the_page_names_exists(file: str, name: str) -> None:
    assert name.startswith("test_")
    assert name in functions_in(TESTS / file)


def test_every_attack_has_its_row_in_order() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, ATTACKS + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_attack_has_a_test_or_a_sentence_why_not(row: tuple[str, str, str, str]) -> None:
    _, attack, what_happens, shown_by = row
    assert attack
    assert re.findall(r"`[\w/]+\.py::\w+`", shown_by) or re.search(r"\b(not|no)\b.*\b(yet|apply)\b", what_happens, re.I)
