"""A share of the fuzz run (`make fuzz`): broken files end in a result or in an error with a code."""

import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.errors import MediaError
from tests.fuzz_media import SUCCESS, Dub, Fuzzer, fuzz, table
from tests.media_mutations import MUTATIONS, Mutant, mutants

SEED = 2026
FILES = 22
"""Every mutation twice, every kind of file once."""


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzer]:
    with Fuzzer(tmp_path_factory.mktemp("fuzz")) as fuzzer:
        yield fuzzer


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


def treacherous(_: Path) -> Dub:
    """A dub that does what the file says, in the process that the fuzzer watches."""

    def dub(video: Path, audio: Path) -> None:
        match video.read_bytes():
            case b"bug":
                raise ValueError("a bug")
            case b"no class of its own":
                raise MediaError("no class of its own")
            case b"crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case b"hang":
                ctypes.PyDLL(None).sleep(600)  # in C code, with the interpreter's lock

    return dub


def test_a_crash_a_hang_and_an_error_without_a_code_are_findings_and_the_run_goes_on(tmp_path: Path) -> None:
    words = ["fine", "crash", "bug", "hang", "no class of its own", "fine"]

    with Fuzzer(tmp_path, treacherous, hang_seconds=2.0) as fuzzer:
        outcomes = [
            fuzzer.try_out(Mutant(number, tmp_path / "clip", "flip bits", word.encode()))
            for number, word in enumerate(words)
        ]

    assert [outcome.code for outcome in outcomes] == [
        SUCCESS, "died", "internal_error", "hang", "internal_error", SUCCESS,
    ]  # fmt: skip
    assert [outcome.is_finding for outcome in outcomes] == [False, True, True, True, True, False]
    assert "| all | 6 | 2 | 2 | 1 | 1 |" in table(outcomes)
