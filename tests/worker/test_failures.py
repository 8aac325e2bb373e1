"""The table from exception to public error code."""

import errno
from collections.abc import Iterator

import pytest

from core.errors import AddressBlocked, ErrorCode, HighSyncError
from model import errors as model_errors
from model.errors import DeviceFailed, ModelError, NoFaceFound
from worker.failures import FAILURES, UNEXPECTED, WORTH_ANOTHER_ATTEMPT, describe, error_code


def leaves(base: type[Exception]) -> Iterator[type[Exception]]:
    """The classes without subclasses, below `base`."""
    for kind in base.__subclasses__():
        yield from leaves(kind) if kind.__subclasses__() else (kind,)


def test_every_error_of_the_model_library_has_a_code() -> None:
    assert set(leaves(ModelError)) == set(FAILURES)


def test_every_error_class_the_model_library_names_is_known_here() -> None:
    named = {kind for kind in vars(model_errors).values() if isinstance(kind, type) and issubclass(kind, ModelError)}
    assert set(leaves(ModelError)) <= named


@pytest.mark.parametrize("kind", sorted(leaves(HighSyncError), key=lambda kind: kind.__name__))
def test_an_error_of_core_keeps_its_own_code(kind: type[HighSyncError]) -> None:
    assert error_code(kind.__new__(kind)) is kind.code is not ErrorCode.INTERNAL_ERROR


def test_a_kind_of_a_known_error_has_its_code() -> None:
    class NoFaceInThisShot(NoFaceFound):
        """A new, finer error."""

    try:
        assert error_code(NoFaceInThisShot("…")) is ErrorCode.NO_FACE_FOUND
    finally:
        del NoFaceInThisShot


def test_the_user_reads_what_is_wrong_and_what_to_do() -> None:
    report = describe(NoFaceFound("No frame shows a face.")).report
    assert report.message == "No frame shows a face."
    assert report.hint
    assert not report.retryable


def test_a_bug_tells_the_user_nothing_of_its_insides() -> None:
    failure = describe(KeyError("/srv/secret/path"))
    assert failure.is_bug
    assert failure.report.message == UNEXPECTED


def test_a_full_disk_is_the_operators_matter_and_worth_another_attempt() -> None:
    failure = describe(OSError(errno.ENOSPC, "No space left on device", "/scratch/jobs/x"))
    assert failure.report.code is ErrorCode.INSUFFICIENT_SCRATCH
    assert failure.attempt_again
    assert "/scratch" not in failure.report.message


def test_a_fault_of_the_input_is_never_attempted_again() -> None:
    assert not describe(AddressBlocked("…")).attempt_again
    assert set(FAILURES.values()) & WORTH_ANOTHER_ATTEMPT == {ErrorCode.GPU_FAILED}


def test_after_a_fault_of_the_device_another_process_makes_another_attempt() -> None:
    failure = describe(DeviceFailed("The device reported a fault."))
    assert failure.attempt_again
    assert failure.start_afresh
    assert not failure.is_bug
