"""Traces: a context that travels, ids in every log line, spans that are kept where somebody wants them."""

import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.settings import Settings, SettingsError
from core.spans import TraceContext
from core.tracing import (
    Unkept,
    close_tracing,
    configure_tracing,
    current_trace,
    record_span,
    span,
    use_tracer,
)
from tests.sites import Site
from tests.traces import CALLER, CALLER_SPAN, CALLER_TRACE, spans_kept

IDS = st.tuples(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())


@pytest.fixture
def unkept() -> Iterator[None]:
    """Whatever a test configures ends with it."""
    yield
    close_tracing()
    use_tracer(Unkept())


@given(IDS)
def test_a_context_that_was_sent_is_the_one_that_is_read(ids: tuple[int, int, bool]) -> None:
    context = TraceContext(f"{ids[0]:032x}", f"{ids[1]:016x}", ids[2])
    assert TraceContext.parse(context.traceparent) == context


@given(st.text(max_size=80))
def test_any_text_can_be_read(text: str) -> None:
    context = TraceContext.parse(text)
    assert context is None or context.traceparent[3:52] == text[3:52]


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{'0' * 32}-{CALLER_SPAN}-01",
        f"00-{CALLER_TRACE}-{'0' * 16}-01",
        f"ff-{CALLER_TRACE}-{CALLER_SPAN}-01",
        f"00-{CALLER_TRACE.upper()}-{CALLER_SPAN}-01",
        f"00-{CALLER_TRACE}-{CALLER_SPAN}-01-more",
        f"{CALLER}\nX-Evil: 1",
    ],
)
def test_what_the_standard_forbids_is_no_context(header: str) -> None:
    assert TraceContext.parse(header) is None


def test_a_later_version_of_the_standard_is_read_as_far_as_it_is_known() -> None:
    assert TraceContext.parse(f"01-{CALLER_TRACE}-{CALLER_SPAN}-01-more") == TraceContext(CALLER_TRACE, CALLER_SPAN)


def test_without_a_collector_steps_have_ids_all_the_same() -> None:
    with span("outer") as outer:
        assert structlog.contextvars.get_contextvars()["trace_id"] == outer.context.trace_id
        with span("inner") as inner:
            assert inner.context.trace_id == outer.context.trace_id
            assert inner.context.span_id != outer.context.span_id
        assert current_trace() == outer.context
    assert current_trace() is None
    assert "trace_id" not in structlog.contextvars.get_contextvars()


@pytest.mark.parametrize("sampled", [True, False])
def test_a_callers_trace_is_continued_with_its_wish(sampled: bool) -> None:
    caller = TraceContext(CALLER_TRACE, CALLER_SPAN, sampled)
    with span("step", parent=caller.traceparent) as step:
        assert (step.context.trace_id, step.context.sampled) == (CALLER_TRACE, sampled)


def test_kept_spans_form_the_tree_of_the_steps() -> None:
    def fail() -> None:
        with span("outer", parent=CALLER, kind="server", job_id="j1"):
            record_span("earlier", 1_000, 2_000)
            with span("inner"):
                raise ZeroDivisionError("a secret")

    with spans_kept() as kept:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert kept.names == ["earlier", "inner", "outer"]
        assert kept.trace_ids == {CALLER_TRACE}
        assert kept.parent_of("outer") == CALLER_SPAN
        assert kept.parent_of("inner") == kept.parent_of("earlier") == kept.id_of("outer")
        assert (kept.named("earlier").start_time, kept.named("earlier").end_time) == (1_000, 2_000)
        assert kept.named("outer").attributes == {"job_id": "j1", "error.type": "ZeroDivisionError"}
        assert not kept.named("inner").status.is_ok
        assert "secret" not in "".join(each.to_json() for each in kept.all)


def test_what_the_caller_does_not_want_kept_is_not() -> None:
    with spans_kept() as kept:
        with span("step", parent=CALLER[:-1] + "0") as step:
            assert step.context.trace_id == CALLER_TRACE
        assert kept.all == ()


def test_spans_arrive_at_the_collector(unkept: None) -> None:
    with Site() as collector:
        collector.pages["/v1/traces"] = lambda visit: visit.reply(200)
        configure_tracing(Settings(secret_key="s" * 32, otlp_endpoint=collector.url("/")), "api")
        with span("step", parent=CALLER):
            pass
        close_tracing()
    ((method, path, _, body),) = collector.visits
    assert (method, path) == ("POST", "/v1/traces")
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert ("service.name", "highsync-api") in [(a.key, a.value.string_value) for a in resource.resource.attributes]
    (sent,) = resource.scope_spans[0].spans
    assert (sent.name, sent.trace_id.hex(), sent.parent_span_id.hex()) == ("step", CALLER_TRACE, CALLER_SPAN)


def test_the_usual_variable_names_the_collector_too(unkept: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with Site() as collector:
        collector.pages["/v1/traces"] = lambda visit: visit.reply(200)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url(""))
        configure_tracing(Settings(secret_key="s" * 32), "worker")
        with span("step"):
            pass
        close_tracing()
    assert len(collector.visits) == 1


def test_a_wish_for_traces_without_the_packages_is_a_setting_to_put_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"highsync-service\[tracing\]"):
        configure_tracing(Settings(secret_key="s" * 32, otlp_endpoint="http://collector:4318"), "api")
