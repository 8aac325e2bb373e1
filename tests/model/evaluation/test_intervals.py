import numpy as np
import pytest

from model.evaluation.intervals import Estimate, bootstrap


def test_intervals_cover_a_known_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    intervals = [bootstrap(rng.normal(0.7, 0.2, 40).tolist(), resamples=400) for _ in range(200)]
    covered = [one.low <= 0.7 <= one.high for one in intervals if one.low is not None and one.high is not None]
    assert len(covered) == 200
    assert 0.88 <= np.mean(covered) <= 0.99


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).random(20).tolist()
    assert bootstrap(values, 4) == bootstrap(values, 4)
    assert bootstrap(values, 4) != bootstrap(values, 5)


@pytest.mark.parametrize(("values", "mean"), [([], None), ([0.4], 0.4)], ids=["none", "one"])
def test_few_clips_have_no_interval(values: list[float], mean: float | None) -> None:
    assert bootstrap(values) == Estimate(len(values), mean)


def test_equal_scores_have_an_interval_of_no_width() -> None:
    assert bootstrap([0.25, 0.25, 0.25]) == Estimate(3, 0.25, 0.25, 0.25)
