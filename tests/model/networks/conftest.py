"""Networks filled by the published rule, and the published numbers they have to give."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.networks import DenoisingUNet, ReferenceUNet, UNetConfig
from model.parity.rules import Goldens

SMALL = UNetConfig(channels=(16, 16, 32, 32), attention_heads=2, norm_groups=8)
"""For properties that hold at any size."""

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="session")
def rules() -> Goldens:
    return Goldens(GOLDEN, salt="")


@pytest.fixture(scope="session")
def published(rules: Goldens) -> dict[str, Any]:
    return rules.json("networks.json")


@pytest.fixture(scope="session")
def reference_unet(rules: Goldens) -> ReferenceUNet:
    network = ReferenceUNet(SMALL)
    rules.fill(network)
    return network


@pytest.fixture(scope="session")
def denoising_unet(rules: Goldens) -> DenoisingUNet:
    network = DenoisingUNet(SMALL)
    rules.fill(network)
    return network


def distance(found: Tensor, published: dict[str, Any]) -> float:
    """max|a-b| / max(1, max|b|) over the published samples, which lie evenly over the flattened tensor."""
    assert list(found.shape) == published["shape"]
    samples = torch.tensor(published["samples"])
    places = torch.from_numpy(np.rint(np.linspace(0, found.numel() - 1, len(samples))).astype(np.int64))
    return float((found.flatten()[places] - samples).abs().max() / samples.abs().max().clamp(min=1.0))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
