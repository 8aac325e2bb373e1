"""The full-size networks have exactly the tensors of the published checkpoints."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from model.networks import FULL, DenoisingUNet, ReferenceUNet
from model.parity.rules import Goldens

NETWORKS = {"reference_unet": ReferenceUNet, "denoising_unet": DenoisingUNet}


def built_without_memory(name: str) -> nn.Module:
    with torch.device("meta"):
        return NETWORKS[name](FULL)


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {key: list(tensor.shape) for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_are_the_published_ones(name: str, published: dict[str, Any]) -> None:
    network = built_without_memory(name)

    lines = sorted(f"{key} {'x'.join(map(str, shape))}" for key, shape in shapes(network).items())

    facts = {
        "tensors": len(lines),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "buffers": len(list(network.buffers())),
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }
    assert facts == published[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_key_agrees_with_the_manifest(name: str, goldens_dir: Path) -> None:
    manifest = Goldens(goldens_dir, salt="").json(f"manifest_{name}.json")

    assert shapes(built_without_memory(name)) == dict(manifest["tensors"])
