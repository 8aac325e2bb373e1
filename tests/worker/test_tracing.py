"""An attempt is a step of the trace in which its job was submitted."""

import time

from structlog.testing import capture_logs

from model.errors import NoFaceFound
from model.progress import StageProgress
from tests.traces import CALLER, CALLER_SPAN, CALLER_TRACE, spans_kept
from tests.worker.fakes import FakePipeline
from tests.worker.house import House
from worker.render import run_render

STAGES_OF_A_SEGMENT = ["crop_faces", "denoise"]
STAGES = ["fetch", "decode_media", "track_faces", *STAGES_OF_A_SEGMENT * 2, "composite", "encode_media", "publish"]


def test_an_attempt_and_its_stages_continue_the_trace_of_the_job(house: House) -> None:
    job = house.post(traceparent=CALLER)
    with spans_kept() as kept:
        asked_ns = time.time_ns()
        run_render(house.claim(job.id), house.bench(FakePipeline(segments=2)), asked_ns)

        assert kept.names == ["claim", *STAGES, "attempt"]
        assert kept.trace_ids == {CALLER_TRACE}
        assert kept.parent_of("attempt") == CALLER_SPAN
        assert {span.parent.span_id for span in kept.all[:-1] if span.parent} == {kept.named("attempt").context.span_id}
        times = [(span.start_time, span.end_time) for span in kept.all[1:-1]]
        assert times == sorted(times)
        attributes = kept.named("attempt").attributes
        assert attributes is not None
        assert (attributes["job_id"], attributes["attempt"]) == (job.id, 1)


def test_the_stage_of_a_fault_is_in_the_trace(house: House) -> None:
    def find_nobody(progress: StageProgress) -> None:
        if progress.stage == "track_faces":
            raise NoFaceFound("No frame shows a face.")

    job = house.post(traceparent=CALLER)
    with spans_kept() as kept:
        run_render(house.claim(job.id), house.bench(FakePipeline(interfere=find_nobody)))
        assert kept.names == ["fetch", "decode_media", "attempt"]


def test_every_line_of_an_attempt_names_its_trace(house: House) -> None:
    from structlog.contextvars import merge_contextvars

    job = house.post(traceparent=CALLER)
    with capture_logs(processors=[merge_contextvars]) as events:
        run_render(house.claim(job.id), house.bench(FakePipeline()))
    assert {event["trace_id"] for event in events} == {CALLER_TRACE}
    assert "job_succeeded" in [event["event"] for event in events]
