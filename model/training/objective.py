"""What the denoiser is taught: velocities of latents that are noisy inside the mouth rectangle (docs/training.md).

Velocity and clean latents from Salimans & Ho 2022 (arXiv 2202.00512), weights from Hang et al. 2023 (arXiv 2303.09556),
zero terminal signal from Lin et al. 2023 (arXiv 2305.08891).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.networks.mouth_mask import mouth_mask
from model.schedule import ScheduleConfig, zero_snr_alphas
from model.training.config import Betas, Context


def training_alphas(betas: Betas) -> Tensor:
    """alpha-bar of every timestep, (1000,) float32; the last is exactly zero."""
    return zero_snr_alphas(ScheduleConfig(betas=betas))


def min_snr_weights(alphas: Tensor, gamma: float) -> Tensor:
    """The weight of each sample's velocity loss, (B,) to (B,): min(SNR + 1, gamma) / (SNR + 1).

    SNR + 1 = 1 / (1 - alpha), so this is min(1, gamma (1 - alpha)): finite everywhere. Where no signal is left it is 1;
    with min(SNR, gamma) / (SNR + 1) nothing would ever be learned about the timestep that sampling begins with.
    """
    return (gamma * (1.0 - alphas)).clamp(max=1.0)


@dataclass(frozen=True, slots=True)
class Noised:
    """Latents to learn from, (B, C, F, h, w) each: what the network sees and the velocity it is to predict.

    alphas : (B,), the share of signal left in each sample
    """

    latents: Tensor
    velocity: Tensor
    alphas: Tensor


def add_noise(clean: Tensor, noise: Tensor, alphas: Tensor, context: Context) -> Noised:
    """Mix clean latents and noise (B, C, F, h, w) inside the mouth rectangle.

    Outside it there is no noise: the clean latents are scaled as those inside (the published training), or stay as they
    are (the sampler).
    """
    mask = mouth_mask(clean.shape[-1]).to(clean)
    signal, spread = alphas.sqrt()[:, None, None, None, None], (1.0 - alphas).sqrt()[:, None, None, None, None]
    masked = noise * mask
    noisy = signal * clean + spread * masked
    if context == "clean":
        noisy = noisy * mask + clean * (1.0 - mask)
    return Noised(noisy, signal * masked - spread * clean, alphas)


def masked_losses(predicted: Tensor, target: Tensor) -> Tensor:
    """The mean squared error of each sample inside the mouth rectangle, (B, ..., h, w) to (B,) float32."""
    mask = mouth_mask(predicted.shape[-1]).to(predicted.device)
    errors = ((predicted.float() - target.float()) * mask).square()
    inside = mask.mean() * errors[0].numel()
    return errors.flatten(1).sum(dim=1) / inside


def predicted_clean(noised: Noised, velocity: Tensor, clean: Tensor) -> Tensor:
    """The clean latents a predicted velocity means, (B, C, F, h, w); outside the mouth rectangle the true ones."""
    mask = mouth_mask(clean.shape[-1]).to(clean)
    signal = noised.alphas.sqrt()[:, None, None, None, None]
    spread = (1.0 - noised.alphas).sqrt()[:, None, None, None, None]
    return (signal * noised.latents - spread * velocity.float()) * mask + clean * (1.0 - mask)


def frames_of(clips: Tensor, indices: Tensor) -> Tensor:
    """One frame of each clip: (B, C, F, h, w) and (B,) to (B, C, h, w)."""
    rows = torch.arange(clips.shape[0], device=clips.device)
    return clips.transpose(1, 2)[rows, indices]
