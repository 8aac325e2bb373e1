"""Exactness costs less than the published way: FLOPs of the full-size networks, counted without computing."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model.networks import FULL, DenoisingUNet, ReferenceFeatures, ReferenceUNet

FRAMES = 12
PUBLISHED_WINDOW_STEP = 41.4e12
"""FLOPs of one guided window step as published: reference, both rows with reference, one attention twice."""


def empty(*shape: int) -> Tensor:
    return torch.empty(*shape, device="meta")


def build(network: type[nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return network(FULL)


@pytest.fixture(scope="module")
def reference() -> tuple[ReferenceFeatures, int]:
    network = build(ReferenceUNet)
    with FlopCounterMode(display=False) as counter:
        features = network(empty(FRAMES, 4, 64, 64))
    return features, counter.get_total_flops()


def flops_of_row(network: nn.Module, audio: Tensor | None, reference: ReferenceFeatures | None) -> int:
    with FlopCounterMode(display=False) as counter:
        network(empty(1, 4, FRAMES, 64, 64), 499, audio, reference)
    return counter.get_total_flops()


def test_a_guided_window_step_costs_little_more_than_half_of_the_published_one(
    reference: tuple[ReferenceFeatures, int],
) -> None:
    features, _ = reference
    network = build(DenoisingUNet)

    conditional = flops_of_row(network, empty(1, FRAMES, 50, 384), features)
    unconditional = flops_of_row(network, None, None)

    assert conditional == pytest.approx(12.8e12, rel=0.01)
    assert unconditional == pytest.approx(10.7e12, rel=0.01)
    assert conditional + unconditional < 0.57 * PUBLISHED_WINDOW_STEP


def test_the_reference_skips_what_reaches_no_feature(reference: tuple[ReferenceFeatures, int]) -> None:
    _, flops = reference

    assert flops == pytest.approx(9.253e12 - 0.4288e12, rel=0.001)
