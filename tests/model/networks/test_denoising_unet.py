"""The denoising UNet: what each condition reaches. Its published numbers are checked by `model.parity`."""

import pytest
import torch
from torch import Tensor, nn

from model.networks import DenoisingUNet, ReferenceFeatures, ReferenceUNet
from model.parity.rules import Goldens
from tests.model.networks.conftest import SMALL, noise

FRAMES = 12


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return noise(1, 4, FRAMES, 32, 32)


@pytest.fixture(scope="module")
def audio() -> Tensor:
    return noise(1, FRAMES, 50, 384, seed=1)


@pytest.fixture(scope="module")
def reference(reference_unet: ReferenceUNet) -> ReferenceFeatures:
    return reference_unet(noise(FRAMES, 4, 32, 32, seed=2))


def test_no_audio_is_the_same_as_all_zero_audio(
    denoising_unet: DenoisingUNet, latents: Tensor, reference: ReferenceFeatures
) -> None:
    silent = torch.zeros(1, FRAMES, 50, 384)

    skipped = denoising_unet(latents, 499, None, reference)

    assert torch.allclose(skipped, denoising_unet(latents, 499, silent, reference), atol=1e-5)


def test_rows_with_their_own_timesteps_are_the_rows_apart(
    denoising_unet: DenoisingUNet, latents: Tensor, audio: Tensor, reference: ReferenceFeatures
) -> None:
    both = [*range(FRAMES), *range(FRAMES)]

    together = denoising_unet(
        latents.expand(2, -1, -1, -1, -1), torch.tensor([999, 49]), audio.expand(2, -1, -1, -1), reference.select(both)
    )

    apart = torch.cat([denoising_unet(latents, timestep, audio, reference) for timestep in (999, 49)])
    assert torch.allclose(together, apart, atol=1e-4)


def test_every_norm_sees_contiguous_tensors(
    denoising_unet: DenoisingUNet, latents: Tensor, audio: Tensor, reference: ReferenceFeatures
) -> None:
    """With channels last, torch's GroupNorm on the CPU loses digits: three stay where the mean is 50."""
    norms = [module for module in denoising_unet.modules() if isinstance(module, nn.GroupNorm)]
    contiguous: list[bool] = []
    hooks = [
        norm.register_forward_pre_hook(lambda _, given: contiguous.append(given[0].is_contiguous())) for norm in norms
    ]

    denoising_unet(latents, 499, audio, reference)

    for hook in hooks:
        hook.remove()
    assert len(contiguous) == len(norms) > 80
    assert all(contiguous)


def test_reference_of_other_frames_is_refused(
    denoising_unet: DenoisingUNet, latents: Tensor, audio: Tensor, reference: ReferenceFeatures
) -> None:
    with pytest.raises(ValueError, match="12 frames of latents, but 11 of reference"):
        denoising_unet(latents, 499, audio, reference.select(range(11)))


def test_bfloat16_agrees_with_float32(
    rules: Goldens, denoising_unet: DenoisingUNet, latents: Tensor, audio: Tensor, reference: ReferenceFeatures
) -> None:
    exact = denoising_unet(latents, 499, audio, reference)
    rough_unet = DenoisingUNet(SMALL)
    rules.fill(rough_unet)

    rough = rough_unet.bfloat16()(latents.bfloat16(), 499, audio.bfloat16(), reference.to(torch.bfloat16))

    error = (rough.float() - exact).norm() / exact.norm()
    assert 0 < error < 0.05
