"""The objective against its closed forms."""

import pytest
import torch

from model.networks import mouth_mask
from model.training.config import Betas, Context
from model.training.objective import (
    add_noise,
    frames_of,
    masked_losses,
    min_snr_weights,
    predicted_clean,
    training_alphas,
)

SIDE = 32


def clip(seed: int, rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, 4, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("betas", ["scaled_linear", "linear"])
def test_the_last_timestep_has_no_signal_and_the_first_nearly_all(betas: Betas) -> None:
    alphas = training_alphas(betas)

    assert alphas.shape == (1000,)
    assert alphas[-1] == 0.0
    assert alphas[0] == pytest.approx(1 - 0.00085, abs=1e-6)
    assert (alphas.diff() < 0).all()


def test_the_published_training_has_other_noise_than_its_sampler() -> None:
    """Half way, squares of evenly spaced numbers leave more signal."""
    assert training_alphas("scaled_linear")[500] > training_alphas("linear")[500] + 0.05


def test_weights_are_min_snr_of_each_sample() -> None:
    alphas = training_alphas("linear")
    snr = alphas.double() / (1.0 - alphas.double())

    weights = min_snr_weights(alphas, 5.0)

    expected = torch.minimum(snr + 1.0, torch.tensor(5.0)) / (snr + 1.0)
    torch.testing.assert_close(weights.double(), expected, rtol=1e-5, atol=1e-7)


def test_weights_are_finite_at_both_ends_and_nothing_is_left_out() -> None:
    assert min_snr_weights(torch.tensor([0.0, 0.8, 1.0]), 5.0).tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert (min_snr_weights(training_alphas("linear"), 5.0) > 0.0).all()


@pytest.mark.parametrize("context", ["scaled", "clean"])
def test_the_true_velocity_leads_back_to_the_clean_latents(context: Context) -> None:
    clean, noise = clip(1), clip(2)

    noised = add_noise(clean, noise, torch.tensor([0.0, 0.3, 0.99]), context)

    torch.testing.assert_close(predicted_clean(noised, noised.velocity, clean), clean, atol=1e-5, rtol=0)


def test_noise_is_inside_the_mouth_only() -> None:
    clean, noise = clip(1), clip(2)
    inside = mouth_mask(SIDE).bool()
    alphas = torch.tensor([0.0, 0.36, 0.81])

    scaled, kept = (add_noise(clean, noise, alphas, context).latents for context in ("scaled", "clean"))

    signal, spread = alphas.sqrt().view(3, 1, 1, 1, 1), (1 - alphas).sqrt().view(3, 1, 1, 1, 1)
    assert torch.equal(scaled[..., inside], kept[..., inside])
    torch.testing.assert_close(scaled[..., inside], (signal * clean + spread * noise)[..., inside])
    torch.testing.assert_close(scaled[..., ~inside], (signal * clean)[..., ~inside])
    assert torch.equal(kept[..., ~inside], clean[..., ~inside])


def test_at_the_last_timestep_nothing_of_the_mouth_is_left() -> None:
    noise, inside = clip(2), mouth_mask(SIDE).bool()

    noised = add_noise(clip(1), noise, torch.zeros(3), "clean")

    assert torch.equal(noised.latents[..., inside], noise[..., inside])


def test_the_loss_ignores_what_lies_outside_the_mouth() -> None:
    target, outside = clip(1), 1.0 - mouth_mask(SIDE)

    assert masked_losses(target + 9.0 * outside, target).tolist() == [0.0, 0.0, 0.0]


def test_the_loss_is_each_samples_mean_inside_the_mouth() -> None:
    off = torch.tensor([1.0, 2.0, 0.5]).view(3, 1, 1, 1, 1)

    losses = masked_losses(clip(1) + off, clip(1))

    torch.testing.assert_close(losses, torch.tensor([1.0, 4.0, 0.25]))


def test_one_frame_of_each_clip_is_taken() -> None:
    clips = clip(1)

    chosen = frames_of(clips, torch.tensor([1, 0, 1]))

    assert torch.equal(chosen, torch.stack([clips[0, :, 1], clips[1, :, 0], clips[2, :, 1]]))
