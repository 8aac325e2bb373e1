"""From stage progress to job progress."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.progress import Stage
from worker.progress import SPANS, AnyStage, ProgressMeter, StageClock, WorkerStage


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_spans_of_all_stages_cover_the_whole_way_without_a_gap() -> None:
    assert set(SPANS) == {*Stage, *WorkerStage}
    spans = sorted(set(SPANS.values()))
    assert (spans[0][0], spans[-1][1]) == (0.0, 1.0)
    assert all(before[1] == after[0] for before, after in pairwise(spans))


@given(st.lists(st.tuples(st.sampled_from(sorted(SPANS)), st.integers(0, 20), st.integers(0, 10))))
def test_the_fraction_never_falls_and_never_leaves_its_range(reports: list[tuple[AnyStage, int, int]]) -> None:
    meter = ProgressMeter()
    fractions = [meter.at(*report).fraction for report in reports]
    assert fractions == sorted(fractions)
    assert all(0.0 <= fraction <= 1.0 for fraction in fractions)


def test_the_estimate_follows_the_speed_so_far() -> None:
    clock = Clock()
    meter = ProgressMeter(clock)
    assert meter.at(WorkerStage.FETCH, 1, 2).eta_s is None
    clock.now += 49.0
    progress = meter.at(Stage.DENOISE, 50, 100)
    assert progress.fraction == pytest.approx(0.49)
    assert progress.eta_s == pytest.approx(51.0)


def test_segments_of_an_earlier_attempt_count_as_done_but_not_as_speed() -> None:
    clock = Clock()
    meter = ProgressMeter(clock)
    meter.inherit(Stage.DENOISE, 50, 100)
    assert meter.at(Stage.DENOISE, 50, 100).fraction == pytest.approx(0.49)
    clock.now += 49.0
    progress = meter.at(Stage.DENOISE, 100, 100)
    assert progress.eta_s == pytest.approx(49.0 * 0.15 / (0.85 - 0.36))


def test_the_stage_clock_books_every_second_on_the_stage_that_reports_it() -> None:
    clock = Clock()
    stages = StageClock(clock)
    for seconds, stage in ((2.0, Stage.CROP_FACES), (5.0, Stage.DENOISE), (1.0, Stage.CROP_FACES)):
        clock.now += seconds
        stages.at(stage)
    assert stages.seconds == {Stage.CROP_FACES: 3.0, Stage.DENOISE: 5.0}
