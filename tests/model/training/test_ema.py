"""Averages of weights against their closed form."""

import pytest
import torch
from torch import nn

from model.training.ema import Ema


def averaged(decay: float, values: list[float]) -> tuple[Ema, nn.Parameter]:
    parameter = nn.Parameter(torch.zeros(()))
    ema = Ema({"w": parameter}, decay)
    for step, value in enumerate(values, start=1):
        parameter.data.fill_(value)
        ema.update(step)
    return ema, parameter


def test_the_average_is_the_sum_of_what_each_step_left_of_it() -> None:
    values = [3.0, -1.0, 4.0, 1.5]

    ema, _ = averaged(0.25, values)

    kept = [min(0.25, (1 + n) / (10 + n)) for n in range(1, 5)]
    expected = 0.0
    for share, value in zip(kept, values, strict=True):
        expected = share * expected + (1 - share) * value
    assert kept[0] < 0.25 == kept[3]
    assert float(ema.averages["w"]) == pytest.approx(expected)


def test_without_decay_the_average_is_the_weight() -> None:
    ema, _ = averaged(0.0, [3.0, 7.0])

    assert float(ema.averages["w"]) == 7.0


def test_networks_have_the_average_only_while_it_is_in_place() -> None:
    ema, parameter = averaged(0.9, [1.0, 2.0])
    average = float(ema.averages["w"])

    with ema.in_place():
        assert parameter.item() == average
    assert parameter.item() == 2.0
    assert float(ema.averages["w"]) == average
