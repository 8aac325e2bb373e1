"""Attention over time moves the mouth and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor

from model.networks import TINY, mouth_mask
from model.networks.motion_module import MotionModule
from model.parity.rules import Goldens
from tests.model.networks.conftest import distance, noise

FRAMES = 12


@pytest.fixture(scope="module")
def motion_module(rules: Goldens) -> MotionModule:
    module = MotionModule(TINY, 32)
    rules.fill(module)
    return module


def outside(frames: Tensor) -> Tensor:
    return frames[..., mouth_mask(frames.shape[-1]) == 0]


def test_output_is_the_published_one(motion_module: MotionModule, rules: Goldens, published: dict[str, Any]) -> None:
    given = rules.input("motion_input", published["motion_module"]["shape"])

    output = motion_module(given[0].transpose(0, 1), FRAMES)

    assert distance(output.transpose(0, 1)[None], published["motion_module"]) < 1e-5


@pytest.mark.parametrize("size", [8, 16, 32])
def test_outside_the_mouth_nothing_changes(motion_module: MotionModule, size: int) -> None:
    given = noise(FRAMES, 32, size, size)

    output = motion_module(given, FRAMES)

    assert torch.equal(outside(output), outside(given))
    assert not torch.allclose(output, given)


def test_what_lies_outside_the_mouth_is_not_seen(motion_module: MotionModule) -> None:
    given = noise(FRAMES, 32, 16, 16)
    mask = mouth_mask(16)
    elsewhere = given * mask + noise(FRAMES, 32, 16, 16, seed=1) * (1 - mask)

    assert torch.equal(motion_module(given, FRAMES) * mask, motion_module(elsewhere, FRAMES) * mask)


def test_rows_of_a_batch_do_not_see_each_other(motion_module: MotionModule) -> None:
    first, second = noise(FRAMES, 32, 16, 16), noise(FRAMES, 32, 16, 16, seed=1)

    together = motion_module(torch.cat([first, second]), FRAMES)

    apart = torch.cat([motion_module(first, FRAMES), motion_module(second, FRAMES)])
    assert torch.allclose(together, apart, atol=1e-5)


def test_frames_of_a_window_see_each_other(motion_module: MotionModule) -> None:
    given = noise(FRAMES, 32, 16, 16)
    changed = given.clone()
    changed[0] += noise(32, 16, 16, seed=1)

    last_before, last_after = motion_module(given, FRAMES)[-1], motion_module(changed, FRAMES)[-1]

    assert not torch.allclose(last_before, last_after)


def test_an_untrained_module_changes_nothing() -> None:
    given = noise(FRAMES, 32, 16, 16)

    assert torch.equal(MotionModule(TINY, 32)(given, FRAMES), given)
