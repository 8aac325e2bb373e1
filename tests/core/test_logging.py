"""Logs are one JSON object per line, tell whose job they are about, and keep secrets to themselves."""

import json
import logging
import time
import warnings
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from core.logging import REDACTED, configure_logging, redacted
from core.settings import Settings

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configure(**changes: str) -> None:
    configure_logging(Settings.model_validate({"secret_key": "x" * 32} | changes), "api")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_an_event_is_one_line_with_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    with structlog.contextvars.bound_contextvars(job_id="j1", attempt=2):
        structlog.get_logger("worker.render").info("segment_rendered", index=3, text="two\nlines \x1b[31m")

    (line,) = lines(capsys)
    assert line.pop("timestamp")
    assert line == {
        "event": "segment_rendered",
        "process": "api",
        "logger": "worker.render",
        "level": "info",
        "job_id": "j1",
        "attempt": 2,
        "index": 3,
        "text": "two\nlines \x1b[31m",
    }


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn.access", "celery", "celery.worker.strategy"])
def test_the_libraries_log_the_same_way(capsys: pytest.CaptureFixture[str], name: str) -> None:
    logging.getLogger(name).addHandler(logging.StreamHandler())  # as they do by themselves
    configure()
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        logging.getLogger(name).error("%s took %d s", "GET /jobs", 3)

    (line,) = lines(capsys)
    assert (line["event"], line["logger"], line["request_id"]) == ("GET /jobs took 3 s", name, "r1")


def test_what_is_less_severe_than_asked_for_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_level="WARNING")
    structlog.get_logger("a").info("quiet")
    logging.getLogger("a").info("quiet")
    structlog.get_logger("a").warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_a_fault_is_logged_with_its_trace_and_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    try:
        raise ConnectionError(f"redis://user:{SECRET}@redis:6379/0 is away")
    except ConnectionError:
        structlog.get_logger("a").exception("fault")

    (line,) = lines(capsys)
    assert "Traceback" in str(line["exception"])
    assert "redis://redis:6379/0 is away" in str(line["exception"])
    assert SECRET not in str(line)


def test_warnings_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = lines(capsys)
    assert "DeprecationWarning: old" in str(line["event"])


def test_people_can_read_the_console_format(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="console")
    structlog.get_logger("a").info("hello", key=f"https://h.org/?sig={SECRET}")
    text = capsys.readouterr().err
    assert "hello" in text
    assert not text.startswith("{")
    assert SECRET not in text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET https://u:hunter2@h.org/a.mp4?X-Amz-Signature=hunter2&b=1 ok", "GET https://h.org/a.mp4?[redacted] ok"),
        ("https://h.org/a#hunter2", "https://h.org/a?[redacted]"),
        ("redis://:hunter2@redis:6379/0", "redis://redis:6379/0"),
        ('"GET /files/a?expires=1&signature=hunter2 HTTP/1.1" 200', '"GET /files/a?[redacted] HTTP/1.1" 200'),
        ("Authorization: Bearer hunter2", "Authorization: Bearer [redacted]"),
        ("basic hunter2==", "basic [redacted]"),
        ("signed with whsec_aHVudGVyMg==, not hunter3", "signed with [redacted], not hunter3"),
        ("/jobs/hs_0123456789ab_hunter2-hunter_2/x", "/jobs/hs_0123456789ab_[redacted]/x"),
        ("upload://u1 of https://h.org/a.mp4, is it?", "upload://u1 of https://h.org/a.mp4, is it?"),
    ],
)
def test_secrets_in_texts_are_taken_out_and_the_rest_stays(text: str, left: str) -> None:
    assert redacted(text) == left


@pytest.mark.parametrize("name", ["secret_key", "Authorization", "s3_access_key", "api-key", "password", "Set-Cookie"])
def test_values_with_a_telling_name_are_taken_out(capsys: pytest.CaptureFixture[str], name: str) -> None:
    configure()
    structlog.get_logger("a").info("event", **{name: SECRET}, headers={name: [SECRET]}, urls=[f"http://h/?{SECRET}"])
    (line,) = lines(capsys)
    assert line[name] == REDACTED
    assert SECRET not in str(line)


@settings(max_examples=50)
@given(st.recursive(st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_value_can_be_redacted_and_doing_it_twice_changes_nothing(value: object) -> None:
    once = redacted(value)
    assert redacted(once) == once


@pytest.mark.parametrize("piece", ["a", "/", "a.", "?", "?a", "a:", "a://", "@", "a://@", "Basic "])
def test_long_texts_are_redacted_in_no_time(piece: str) -> None:
    start = time.monotonic()
    redacted(piece * 10_000)
    assert time.monotonic() - start < 1.0
