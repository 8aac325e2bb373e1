"""The plan of all network passes of a clip."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.stages.plan_windows import plan_windows
from model.windows import WINDOW_FRAMES

lengths = st.integers(1, 400)
counts = st.integers(1, 30)


@given(lengths, counts)
def test_every_step_predicts_every_frame(num_frames: int, num_inference_steps: int) -> None:
    plan = plan_windows(num_frames, num_inference_steps)
    assert len(plan.steps) == num_inference_steps
    for windows in plan.steps:
        assert {target for window in windows for target in window.targets} == set(range(plan.num_frames))


@given(lengths, counts)
def test_no_step_runs_a_pass_twice(num_frames: int, num_inference_steps: int) -> None:
    for windows in plan_windows(num_frames, num_inference_steps).steps:
        assert Counter(window.first for window in windows).most_common(1)[0][1] == 1


@given(lengths, counts)
def test_the_network_always_sees_twelve_frames_of_the_clip(num_frames: int, num_inference_steps: int) -> None:
    plan = plan_windows(num_frames, num_inference_steps)
    for windows in plan.steps:
        assert all(0 <= window.first <= plan.num_frames - WINDOW_FRAMES for window in windows)


@given(st.integers(1, WINDOW_FRAMES), counts)
def test_a_short_clip_is_padded_to_one_window_a_step(num_frames: int, num_inference_steps: int) -> None:
    plan = plan_windows(num_frames, num_inference_steps)
    assert plan.num_frames == WINDOW_FRAMES
    assert plan.num_passes == num_inference_steps


def test_a_longer_clip_is_not_padded() -> None:
    assert plan_windows(13, 1).num_frames == 13


def test_passes_are_counted_over_all_steps() -> None:
    plan = plan_windows(37, 20)
    assert plan.num_passes == sum(len(windows) for windows in plan.steps) == 91


@pytest.mark.parametrize(("num_frames", "num_inference_steps"), [(0, 20), (-1, 20), (12, 0)])
def test_nothing_to_plan_is_refused(num_frames: int, num_inference_steps: int) -> None:
    with pytest.raises(ValueError, match="Nothing to plan"):
        plan_windows(num_frames, num_inference_steps)
