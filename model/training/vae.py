"""The task of training a VAE: crops to latents and back (docs/training.md)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.utils.data import default_collate

from model.checkpoint import build_vae, save_vae
from model.faces.detector import Image
from model.networks.mouth_mask import mouth_mask
from model.stages.denoise import crops_to_pixels
from model.training.config import VaeTrainingConfig
from model.training.samples import Batch, TrainingSamples

MEASURED_SAMPLES = 32
"""Samples whose latents say how these are to be scaled; each has two frames."""


class Autoencoding(nn.Module):
    """A VAE there and back in one call, so that several processes can train it together."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = cast(nn.Module, vae)  # diffusers hides from type checkers that its models are modules

    def forward(self, pixels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        pixels  : (N, 3, S, S) in [-1, 1]
        draws   : (N, C, h, w) standard normal, or zero for the posterior's mean
        returns : pixels again, and the posterior's mean and log variance (N, C, h, w)
        """
        vae: Any = self.vae
        posterior = vae.encode(pixels).latent_dist
        rebuilt: Tensor = vae.decode(posterior.mean + posterior.std * draws).sample
        return rebuilt, posterior.mean, posterior.logvar


class VaeTask:
    """What a step of a VAE's training computes. A sample is two frames of a clip."""

    def __init__(self, config: VaeTrainingConfig, samples: TrainingSamples) -> None:
        self._config, self._samples = config, samples
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.run.seed)
            self._vae = build_vae(config.vae)
        self.network = Autoencoding(self._vae)
        self.parameters = dict(self.network.named_parameters())
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move everything a step needs."""
        self.network.to(device)
        self._device = device

    def checkpoint_gradients(self) -> None:
        """Have activations computed again on the way back instead of kept."""
        vae: Any = self._vae
        vae.enable_gradient_checkpointing()

    def losses(self, network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The loss to descend, `loss`, and its parts."""
        pixels, draws = pixels_of(batch)
        rebuilt, mean, log_variance = network(pixels, draws)
        objective = self._config.objective
        weights = 1.0 + objective.mouth_weight * mouth_mask(pixels.shape[-1]).to(pixels.device)
        error = rebuilt.float() - pixels
        parts = {
            "pixel_error": (weights * error.abs()).mean(),
            "edge_error": (weights[1:] * error.diff(dim=-2).abs()).mean()
            + (weights[:, 1:] * error.diff(dim=-1).abs()).mean(),
            "divergence": 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).float().mean(),
        }
        weighted = objective.edge_weight * parts["edge_error"] + objective.kl_weight * parts["divergence"]
        return {"loss": parts["pixel_error"] + weighted, **parts}

    def strips(self) -> Iterator[Image]:
        """Frames above what comes back of them, (2 S, n S, 3)."""
        for number in range(self._config.run.sample_clips):
            pixels, rebuilt, _ = self._rebuild(number)
            rows = [torch.cat(list(frames), dim=-1) for frames in (pixels, rebuilt.clamp(-1.0, 1.0))]
            strip = (torch.cat(rows, dim=-2).permute(1, 2, 0) + 1.0) * 127.5
            yield strip.round().cpu().numpy().astype(np.uint8)

    def save(self, folder: Path, name: str) -> None:
        """Write the VAE as diffusers does, with the factor that gives its latents a standard deviation of one."""
        means = torch.cat([self._rebuild(number)[2] for number in range(MEASURED_SAMPLES)])
        vae: Any = self._vae
        vae.register_to_config(scaling_factor=1.0 / float(means.std()))
        save_vae(self._vae, folder)

    def save_last(self, folder: Path, name: str) -> None:
        """Nobody wants a VAE in another form."""

    @torch.no_grad()
    def _rebuild(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """The pixels of a sample, what comes back of them, and their latents' means, (2, ...) each."""
        batch: Batch = default_collate([self._samples[number]])
        pixels, draws = pixels_of(batch.to(self._device))
        rebuilt, mean, _ = self.network(pixels, torch.zeros_like(draws))
        return pixels, rebuilt, mean


def pixels_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """All frames of a batch, references too: pixels (N, 3, S, S), and where to draw from their posteriors."""
    frames = torch.cat([batch.frames, batch.reference.unsqueeze(1)], dim=1).flatten(0, 1)
    return crops_to_pixels(frames), batch.posterior.transpose(1, 2).flatten(0, 1)
