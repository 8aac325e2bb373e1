"""What a render shows while it runs, not only when it has ended."""

from core import metrics
from model.progress import Stage, StageProgress
from tests.worker.fakes import FakePipeline, do_nothing
from tests.worker.house import House
from worker.measures import FrameCounter, show_stage
from worker.render import run_render


def frames(stage: Stage) -> float:
    return metrics.STAGE_FRAMES.labels(stage.value)._value.get()


def stages_shown() -> set[str]:
    (family,) = metrics.WORKER_STAGE.collect()
    return {sample.labels["stage"] for sample in family.samples if sample.value == 1}


def test_frames_count_once_however_often_a_stage_repeats_itself() -> None:
    before, counter = frames(Stage.COMPOSITE), FrameCounter()
    for done in (0, 3, 3, 2, 10, 10):
        counter.at(StageProgress(Stage.COMPOSITE, done, 10))
    assert frames(Stage.COMPOSITE) == before + 10


def test_a_worker_is_at_one_stage_or_at_none() -> None:
    show_stage(Stage.DENOISE)
    show_stage(Stage.COMPOSITE)
    assert stages_shown() == {"composite"}
    show_stage(None)
    assert stages_shown() == set()


def test_a_render_counts_each_frame_of_each_segment_and_shows_where_it_is(house: House) -> None:
    seen: list[set[str]] = []
    pipeline = FakePipeline(segments=3, interfere=lambda progress: seen.append(stages_shown() | {progress.stage}))
    before = frames(Stage.DENOISE)
    run_render(house.claim(house.post().id), house.bench(pipeline, gpu_memory=lambda: {"peak": 5}))
    assert frames(Stage.DENOISE) == before + 12
    assert {"denoise"} in seen  # the stage shown is the stage that reports, once it has done so before
    assert stages_shown() == set()
    assert metrics.GPU_MEMORY_BYTES.labels("peak")._value.get() == 5


def test_segments_of_an_earlier_attempt_are_not_counted_again(house: House) -> None:
    job, pipeline = house.post(), FakePipeline(segments=3)

    def stop_in_the_second(progress: StageProgress) -> None:
        if progress.stage is Stage.DENOISE and pipeline.rendered == [0]:
            house.flags.stop()

    pipeline.interfere = stop_in_the_second
    run_render(house.claim(job.id), house.bench(pipeline))
    before = frames(Stage.DENOISE)
    pipeline.interfere = do_nothing
    run_render(house.claim(job.id), house.bench(pipeline, stopping=lambda: False))
    assert frames(Stage.DENOISE) == before + 8  # of 12: the first segment's four were done before
