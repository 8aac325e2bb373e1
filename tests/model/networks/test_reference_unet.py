"""The reference UNet: published numbers, and each frame on its own."""

from typing import Any

import pytest
import torch

from model.networks import TINY, ReferenceFeatures, ReferenceUNet
from model.parity.rules import Goldens
from tests.model.networks.conftest import SMALL, distance, noise


@pytest.fixture(scope="module")
def features(reference_unet: ReferenceUNet) -> ReferenceFeatures:
    return reference_unet(noise(3, 4, 32, 32))


def same(left: ReferenceFeatures, right: ReferenceFeatures, tolerance: float = 0.0) -> bool:
    pairs = zip(left.named().values(), right.named().values(), strict=True)
    return all(torch.allclose(one, other, rtol=0, atol=tolerance) for one, other in pairs)


def test_features_are_the_published_ones_in_the_published_order(rules: Goldens, published: dict[str, Any]) -> None:
    network = ReferenceUNet(TINY)
    rules.fill(network)

    found = network(rules.input("ref_latents", (3, 4, 64, 64))).named()

    assert list(found) == [block["path"] for block in published["reference_features"]]
    assert max(distance(found[block["path"]], block) for block in published["reference_features"]) < 1e-4


def test_a_frame_is_read_the_same_alone_and_in_company(
    reference_unet: ReferenceUNet, features: ReferenceFeatures
) -> None:
    alone = reference_unet(noise(3, 4, 32, 32)[1:2])

    assert same(alone, features.select([1]), tolerance=1e-4)


def test_selected_frames_come_in_the_order_asked_for(features: ReferenceFeatures) -> None:
    chosen = features.select([2, 0, 2])

    assert chosen.frames == 3
    assert torch.equal(chosen.mid, torch.stack([features.mid[2], features.mid[0], features.mid[2]]))


def test_parts_put_together_again_are_the_whole(features: ReferenceFeatures) -> None:
    parts = [features.select([0, 1]), features.select([2])]

    assert same(ReferenceFeatures.concatenate(parts), features)


def test_nothing_after_the_last_feature_is_computed(rules: Goldens, features: ReferenceFeatures) -> None:
    """Thirteen tensors of the checkpoint cannot reach a feature: break them, and nothing happens."""
    network = ReferenceUNet(SMALL)
    rules.fill(network)
    last = network.get_submodule("up_blocks.3.attentions.2")
    for part in ("transformer_blocks.0.attn1", "transformer_blocks.0.norm3", "transformer_blocks.0.ff", "proj_out"):
        for parameter in last.get_submodule(part).parameters():
            parameter.fill_(torch.nan)

    assert same(network(noise(3, 4, 32, 32)), features)
