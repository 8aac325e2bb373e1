import numpy as np
import pytest

from model.evaluation.agreement import Lag, best_lag, correlation, swap

CURVE = np.convolve(np.random.default_rng(1).standard_normal(80), np.ones(4) / 4, "valid")
OTHER = np.random.default_rng(2).standard_normal(CURVE.size)
FLAT = np.full(CURVE.size, 0.3)


def test_scale_and_offset_do_not_change_a_correlation() -> None:
    assert correlation(0.6 * CURVE + 2.0, CURVE) == pytest.approx(1.0)
    assert correlation(-CURVE, CURVE) == pytest.approx(-1.0)


def test_a_curve_that_does_not_move_agrees_with_nothing_in_particular() -> None:
    assert correlation(FLAT, CURVE) is None
    assert correlation(CURVE[:2], CURVE[2:4]) is None
    assert best_lag(FLAT, CURVE) is None
    assert swap(CURVE, FLAT, OTHER) is None
    assert swap(CURVE, OTHER, FLAT) is None


def test_curves_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        correlation(CURVE, CURVE[1:])


def test_frames_that_one_curve_lacks_are_left_out() -> None:
    gaps = CURVE.copy()
    gaps[::7] = np.nan
    assert correlation(gaps, CURVE) == pytest.approx(1.0)
    lag = best_lag(np.roll(gaps, 2), CURVE)
    assert lag is not None
    assert lag.frames == 2
    assert correlation(np.full(CURVE.size, np.nan), CURVE) is None


@pytest.mark.parametrize("frames", [-5, -1, 0, 3, 5])
def test_a_shifted_copy_has_the_lag_it_was_shifted_by(frames: int) -> None:
    late = np.roll(CURVE, frames)
    lag = best_lag(late, CURVE)
    assert lag is not None
    assert lag.frames == frames
    assert lag.correlation == pytest.approx(1.0)


def test_of_equally_good_lags_the_smallest_wins() -> None:
    wave = np.tile([0.0, 1.0], 20)
    assert best_lag(wave, wave) == Lag(0, pytest.approx(1.0))


def test_the_swap_test_is_positive_for_who_listens_and_negative_for_who_copies() -> None:
    listens, copies = swap(CURVE, CURVE, OTHER), swap(OTHER, CURVE, OTHER)
    assert listens is not None
    assert copies is not None
    assert listens == pytest.approx(1.0 - np.corrcoef(CURVE, OTHER)[0, 1])
    assert copies == pytest.approx(-listens)
