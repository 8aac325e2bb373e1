"""A share of the fuzz run (`python -m tests.fuzz_media`): broken files end in a result or in an error with a code."""

from pathlib import Path

import pytest

from model.errors import MediaError
from tests.fuzz_media import Fuzzer, fuzz
from tests.media_mutations import MUTATIONS, mutants

SEED = 2026
FILES = 22
"""Every mutation twice, every kind of file once."""


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    return Fuzzer(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def sources(fuzzer: Fuzzer) -> list[Path]:
    return fuzzer.sources()


def test_the_files_are_the_same_for_the_same_seed(sources: list[Path]) -> None:
    contents = [mutant.content for mutant in mutants(sources, FILES, SEED)]

    assert contents == [mutant.content for mutant in mutants(sources, FILES, SEED)]
    assert contents != [mutant.content for mutant in mutants(sources, FILES, SEED + 1)]


def test_every_file_is_broken_and_every_kind_of_break_and_file_comes(sources: list[Path]) -> None:
    broken = list(mutants(sources, FILES, SEED))

    assert {mutant.mutation for mutant in broken} == set(MUTATIONS)
    assert {mutant.source for mutant in broken} == set(sources)
    assert all(mutant.content != mutant.source.read_bytes() for mutant in broken)


def test_broken_files_end_in_a_result_or_in_an_error_with_a_code(fuzzer: Fuzzer, sources: list[Path]) -> None:
    outcomes = list(fuzz(fuzzer, sources, FILES, SEED))

    assert [outcome for outcome in outcomes if outcome.is_finding] == []
    assert len({outcome.code for outcome in outcomes}) > 3


def test_an_error_without_a_code_and_a_hang_are_findings(
    fuzzer: Fuzzer, sources: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant = next(mutants(sources, 1, SEED))

    def outcome_of(dub: object) -> str:
        monkeypatch.setattr(fuzzer, "_dub", dub)
        outcome = fuzzer.try_out(mutant)
        return outcome.code if outcome.is_finding else "no finding"

    def fail(error: Exception) -> None:
        raise error

    def hang() -> None:
        while True:
            pass

    monkeypatch.setattr("tests.fuzz_media.HANG_SECONDS", 0.05)
    assert outcome_of(lambda *_: fail(ValueError("a bug"))) == "internal_error"
    assert outcome_of(lambda *_: fail(MediaError("no class of its own"))) == "internal_error"
    assert outcome_of(lambda *_: hang()) == "hang"
    assert outcome_of(lambda *_: None) == "no finding"
