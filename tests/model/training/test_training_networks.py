"""Both UNets together: what learns in which stage, and a full-size step by its shapes."""

import pytest
import torch
from torch import Tensor

from model.networks import FULL, DenoisingUNet, ReferenceUNet
from model.networks.config import UNetConfig
from model.training.networks import UNets, checkpoint_gradients, learns_in_stage_1, learns_in_stage_2, make_learn
from model.training.objective import add_noise, masked_losses, min_snr_weights, training_alphas
from tests.model.training.runs import UNET


def unets(config: UNetConfig) -> UNets:
    torch.manual_seed(0)
    return UNets(DenoisingUNet(config), ReferenceUNet(config))


def loss_of(network: UNets, config: UNetConfig, frames: int, side: int, tokens: int) -> Tensor:
    """What a step descends, for one row."""
    clean, noise = torch.randn(2, 1, 4, frames, side, side)
    timesteps = torch.tensor([999])
    noised = add_noise(clean, noise, training_alphas("scaled_linear").to(clean.device)[timesteps], "scaled")
    audio = torch.randn(1, frames, tokens, config.audio_width)
    velocity = network(noised.latents, timesteps, audio, clean[:, :, 0])
    assert velocity.shape == clean.shape
    return (min_snr_weights(noised.alphas, 5.0) * masked_losses(velocity, noised.velocity)).mean()


def test_a_full_size_step_of_stage_2_has_the_right_shapes() -> None:
    """On tensors that hold no numbers: forward and back through 2.1 billion parameters."""
    with torch.device("meta"):
        network = UNets(DenoisingUNet(FULL), ReferenceUNet(FULL))
        learning = make_learn(network, learns_in_stage_2)
        loss_of(network, FULL, frames=12, side=64, tokens=50).backward()

    assert all(parameter.grad is not None for parameter in learning.values())
    assert all(parameter.grad.shape == parameter.shape for parameter in learning.values() if parameter.grad is not None)
    assert sum(parameter.numel() for parameter in learning.values()) == 453_209_280 + 34_402_880


def test_stage_1_leaves_motion_alone_and_uses_all_else_but_the_end_of_the_reference() -> None:
    network = unets(UNET)
    learning = make_learn(network, learns_in_stage_1)

    loss_of(network, UNET, frames=1, side=32, tokens=4).backward()

    assert not any("motion_modules" in name for name in learning)
    idle = {name.rpartition(".")[0] for name, parameter in learning.items() if parameter.grad is None}
    assert idle
    assert all(name.startswith("reference_unet.up_blocks.3.attentions.2.") for name in idle)


def test_a_single_frame_passes_motion_modules_unchanged() -> None:
    network = unets(UNET)
    for name, parameter in network.named_parameters():
        if "motion_modules" in name:
            parameter.data.fill_(torch.nan)

    assert loss_of(network, UNET, frames=1, side=32, tokens=4).isfinite()


@pytest.mark.parametrize("frames", [1, 12])
def test_gradient_checkpointing_changes_no_gradient(frames: int) -> None:
    gradients = []
    for checkpointed in (False, True):
        network = unets(UNET)
        names = set(network.state_dict())
        learning = make_learn(network, learns_in_stage_1 if frames == 1 else learns_in_stage_2)
        if checkpointed:
            checkpoint_gradients(network)
        torch.manual_seed(1)
        loss_of(network, UNET, frames=frames, side=32, tokens=4).backward()
        assert set(network.state_dict()) == names
        gradients.append({name: parameter.grad for name, parameter in learning.items()})

    plain, again = gradients
    for name, gradient in plain.items():
        other = again[name]
        assert (gradient is None) == (other is None), name
        assert gradient is None or other is None or torch.equal(gradient, other), name
