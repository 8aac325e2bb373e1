"""Voice and video brought to one length."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import MediaTooLarge, NoVideoFrames
from model.plan import SyncMode
from model.timeline import Timeline, plan_timeline

TICK = Fraction(1, 12_800)
CFR_25 = [512 * i for i in range(250)]
"""Ten seconds at 25 fps."""


def of_clip(audio_seconds: float, mode: SyncMode) -> Timeline:
    return plan_timeline(CFR_25, 128_000, TICK, audio_seconds, mode)


@st.composite
def sources(draw: st.DrawFn) -> tuple[list[int], int, Fraction]:
    """Frame times of any rate, the end of the last frame, and the time base."""
    steps = draw(st.lists(st.integers(1, 2000), min_size=1, max_size=40))
    ends = [sum(steps[: i + 1]) for i in range(len(steps))]
    time_base = draw(
        st.sampled_from([Fraction(1, 1000), Fraction(1, 12_800), Fraction(1, 90_000), Fraction(1001, 30_000)])
    )
    return [0, *ends[:-1]], ends[-1], time_base


audio_ratios = st.fractions(min_value=Fraction(1, 50), max_value=Fraction(7, 2), max_denominator=200)
modes = st.sampled_from(list(SyncMode))


@given(sources(), audio_ratios, modes)
def test_times_start_at_zero_and_rise(source: tuple[list[int], int, Fraction], ratio: Fraction, mode: SyncMode) -> None:
    pts, end, time_base = source

    timeline = plan_timeline(pts, end, time_base, float(ratio * end * time_base), mode)

    assert timeline.pts[0] == 0
    assert all(later > sooner for sooner, later in zip(timeline.pts, timeline.pts[1:], strict=False))
    assert len(timeline.pts) == len(timeline.source_frames)
    assert timeline.pts[-1] * time_base < timeline.duration_seconds + 1e-6


@given(sources(), audio_ratios, modes)
def test_the_first_pass_is_the_source_itself(
    source: tuple[list[int], int, Fraction], ratio: Fraction, mode: SyncMode
) -> None:
    pts, end, time_base = source

    timeline = plan_timeline(pts, end, time_base, float(ratio * end * time_base), mode)

    first_pass = min(len(pts), len(timeline.pts))
    assert list(timeline.pts[:first_pass]) == pts[:first_pass]
    assert list(timeline.source_frames[:first_pass]) == list(range(first_pass))


@given(sources(), audio_ratios, modes)
def test_the_duration_is_the_one_the_mode_promises(
    source: tuple[list[int], int, Fraction], ratio: Fraction, mode: SyncMode
) -> None:
    pts, end, time_base = source
    video, audio = float(end * time_base), float(ratio * end * time_base)

    timeline = plan_timeline(pts, end, time_base, audio, mode)

    promised = {SyncMode.CUT_OFF: min(video, audio), SyncMode.SILENCE: video}.get(mode, audio)
    assert timeline.duration_seconds == pytest.approx(promised, abs=2e-6)


def test_a_voice_of_9_6_seconds_takes_240_frames_of_a_25_fps_clip() -> None:
    timeline = of_clip(9.6, SyncMode.CUT_OFF)

    assert timeline.source_frames == tuple(range(240))
    assert timeline.duration_seconds == 9.6


@pytest.mark.parametrize("noise", [-1e-12, 0.0, 1e-12])
def test_float_noise_in_a_duration_changes_no_frame(noise: float) -> None:
    assert len(of_clip(9.6 + noise, SyncMode.CUT_OFF).pts) == 240


def test_no_frame_is_dropped_when_the_voice_is_longer() -> None:
    assert len(of_clip(99.0, SyncMode.CUT_OFF).pts) == 250


def test_silence_keeps_the_whole_video_under_a_shorter_voice() -> None:
    assert of_clip(3.0, SyncMode.SILENCE) == Timeline(tuple(range(250)), tuple(CFR_25), 10.0)


def test_loop_starts_again() -> None:
    timeline = plan_timeline([0, 1, 2], 3, Fraction(1), 7.0, SyncMode.LOOP)

    assert timeline == Timeline((0, 1, 2, 0, 1, 2, 0), (0, 1, 2, 3, 4, 5, 6), 7.0)


def test_bounce_turns_without_showing_the_ends_twice() -> None:
    timeline = plan_timeline([0, 1, 2], 3, Fraction(1), 8.0, SyncMode.BOUNCE)

    assert timeline.source_frames == (0, 1, 2, 1, 0, 1, 2, 1)


def test_bounce_shows_each_frame_as_long_as_the_source_does() -> None:
    timeline = plan_timeline([0, 10, 15], 35, Fraction(1), 60.0, SyncMode.BOUNCE)

    assert timeline.source_frames == (0, 1, 2, 1, 0, 1, 2)
    assert timeline.pts == (0, 10, 15, 35, 40, 50, 55)
    assert timeline.duration_seconds == 60.0


def test_hold_repeats_the_last_frame_at_the_mean_rate() -> None:
    timeline = plan_timeline([0, 33, 66], 100, Fraction(1, 1000), 0.2, SyncMode.HOLD)

    assert timeline.source_frames == (0, 1, 2, 2, 2, 2)
    assert timeline.pts == (0, 33, 66, 100, 133, 166)


@pytest.mark.parametrize("mode", [SyncMode.LOOP, SyncMode.BOUNCE, SyncMode.HOLD])
def test_a_single_frame_lasts_as_long_as_the_voice(mode: SyncMode) -> None:
    timeline = plan_timeline([0], 40, Fraction(1, 1000), 0.1, mode)

    assert timeline.source_frames == (0, 0, 0)
    assert timeline.pts == (0, 40, 80)


def test_a_tiny_loop_under_a_long_voice_is_refused_before_it_fills_memory() -> None:
    with pytest.raises(MediaTooLarge):
        plan_timeline([0], 1, Fraction(1, 90_000), 3600.0, SyncMode.LOOP, max_frames=1000)


def test_no_frames_at_all_are_refused() -> None:
    with pytest.raises(NoVideoFrames):
        plan_timeline([], 0, TICK, 1.0, SyncMode.CUT_OFF)


@pytest.mark.parametrize(("pts", "end"), [([1, 2], 3), ([0, 2, 2], 3), ([0, 5], 5)])
def test_times_that_do_not_rise_are_a_bug(pts: list[int], end: int) -> None:
    with pytest.raises(ValueError, match="increase strictly"):
        plan_timeline(pts, end, TICK, 1.0, SyncMode.CUT_OFF)
