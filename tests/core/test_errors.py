"""The catalogue of errors is complete and unambiguous."""

from core import errors
from core.errors import CATALOGUE, ErrorCode, HighSyncError


def test_every_code_is_in_the_catalogue_in_the_same_order() -> None:
    assert list(CATALOGUE) == list(ErrorCode)


def test_every_entry_helps() -> None:
    for code, spec in CATALOGUE.items():
        assert 400 <= spec.http_status < 600, code
        assert spec.title, code
        assert spec.hint.endswith("."), code


def test_every_error_class_has_a_code_of_its_own() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HighSyncError)]
    codes = [kind.code for kind in classes]
    assert len(set(codes)) == len(codes)


def test_an_error_knows_its_entry() -> None:
    error = errors.JobNotFound("There is no job x.")
    assert (error.message, error.spec.http_status) == ("There is no job x.", 404)
