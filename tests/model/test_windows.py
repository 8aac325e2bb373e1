"""The windows in which the network sees a clip, against the published ones and by their properties."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.windows import WINDOW_FRAMES, Window, distinct_windows, published_windows, sliding_frames

GOLDEN = Path(__file__).parents[1] / "golden" / "windows.json.gz"
PUBLISHED: dict[str, Any] = json.loads(gzip.decompress(GOLDEN.read_bytes()))
LENGTHS = [int(length) for length in PUBLISHED["by_num_frames"]]
WHOLE_LENGTHS = [length for length in LENGTHS if length >= WINDOW_FRAMES]

clip_lengths = st.integers(WINDOW_FRAMES, 1500)
steps = st.integers(0, 99)


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_the_window_slides_as_published(num_frames: int) -> None:
    for record in PUBLISHED["by_num_frames"][str(num_frames)]:
        slid = [list(frames) for frames in sliding_frames(num_frames, record["step"])]
        assert slid == [window["raw"] for window in record["windows"]], record["step"]


@pytest.mark.parametrize("num_frames", WHOLE_LENGTHS)
def test_the_network_sees_and_keeps_what_the_published_does(num_frames: int) -> None:
    for record in PUBLISHED["by_num_frames"][str(num_frames)]:
        windows = published_windows(num_frames, record["step"])
        kept = Counter(target for window in windows for target in window.targets)
        assert [list(window.frames) for window in windows] == [window["frames"] for window in record["windows"]]
        assert [list(window.targets) for window in windows] == [
            window["accumulate_onto"] for window in record["windows"]
        ]
        assert [list(window.positions) for window in windows] == [_positions(window) for window in record["windows"]]
        assert [kept[frame] for frame in range(num_frames)] == record["counter"]


@pytest.mark.parametrize("num_frames", [int(length) for length in PUBLISHED["cost_summary"]])
def test_joining_repeated_windows_saves_what_is_on_record(num_frames: int) -> None:
    record, num_steps = PUBLISHED["cost_summary"][str(num_frames)], PUBLISHED["num_steps"]
    published = sum(len(published_windows(num_frames, step)) for step in range(num_steps))
    distinct = sum(len(distinct_windows(num_frames, step)) for step in range(num_steps))
    assert (published, distinct) == (record["windows_in_20_steps"], record["distinct_windows_in_20_steps"])


@given(clip_lengths, steps)
def test_every_frame_is_predicted_once_or_twice(num_frames: int, step: int) -> None:
    kept = Counter(target for window in distinct_windows(num_frames, step) for target in window.targets)
    assert sorted(kept) == list(range(num_frames))
    assert set(kept.values()) <= {1, 2}


@given(clip_lengths, steps)
def test_windows_lie_in_the_clip_and_targets_in_their_window(num_frames: int, step: int) -> None:
    for window in distinct_windows(num_frames, step):
        assert window.first >= 0
        assert window.first + WINDOW_FRAMES <= num_frames
        assert window.targets
        assert [window.frames[position] for position in window.positions] == list(window.targets)


@given(clip_lengths, steps)
def test_no_pass_is_run_twice(num_frames: int, step: int) -> None:
    windows = distinct_windows(num_frames, step)
    assert len({window.first for window in windows}) == len(windows)
    assert all(len(set(window.targets)) == len(window.targets) for window in windows)


@given(clip_lengths, steps)
def test_joining_repeated_windows_changes_no_average(num_frames: int, step: int) -> None:
    """With predictions that tell the window they come from."""
    published = _averages(published_windows(num_frames, step), num_frames)
    assert _averages(distinct_windows(num_frames, step), num_frames) == published


@given(st.integers(2 * WINDOW_FRAMES, 1500), steps)
def test_the_seams_move_from_step_to_step(num_frames: int, step: int) -> None:
    assert set(_seams(num_frames, step)).isdisjoint(_seams(num_frames, step + 1))


def _seams(num_frames: int, step: int) -> list[int]:
    """Where windows begin, but for those held at an end of the clip."""
    firsts = [window.first for window in distinct_windows(num_frames, step)]
    return [first for first in firsts if 0 < first < num_frames - WINDOW_FRAMES]


def _positions(window: dict[str, Any]) -> list[int]:
    positions, count = list(range(WINDOW_FRAMES)), window["len_context"]
    return positions[:count] if window["accumulate_from"] == "first" else positions[-count:]


def _averages(windows: tuple[Window, ...], num_frames: int) -> list[float]:
    """Each frame's average prediction where every window predicts its own first frame."""
    predictions: list[list[int]] = [[] for _ in range(num_frames)]
    for window in windows:
        for target in window.targets:
            predictions[target].append(window.first)
    return [sum(found) / len(found) for found in predictions]
