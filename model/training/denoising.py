"""The task of both stages: teach the denoiser velocities (docs/training.md)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from model.checkpoint import Checkpoint, save_folder, save_published
from model.faces.detector import Image
from model.stages.denoise import VAE_BATCH_FRAMES, crops_to_pixels
from model.training.config import ObjectiveConfig, RunConfig
from model.training.networks import UNets, checkpoint_gradients, make_learn
from model.training.objective import (
    add_noise,
    frames_of,
    masked_losses,
    min_snr_weights,
    predicted_clean,
    training_alphas,
)
from model.training.samples import Batch, drops_reference
from model.training.shards import ShardReader
from model.training.start import Start
from model.training.strips import draw_strips
from model.weights import HighSyncModel, WeightsInfo


class DenoisingTask:
    """What a step of stage 1 or 2 computes.

    network : both UNets; parameters: what of it learns, by name
    """

    def __init__(
        self,
        start: Start,
        objective: ObjectiveConfig,
        learns: Callable[[str], bool],
        reader: ShardReader,
        run: RunConfig,
    ) -> None:
        self._start, self._objective, self._reader, self._run = start, objective, reader, run
        self.network = UNets(start.networks.denoising_unet, start.networks.reference_unet)
        self.parameters = make_learn(self.network, learns)
        self._alphas = training_alphas(objective.betas)

    def to(self, device: torch.device) -> None:
        """Move everything a step needs."""
        self.network.to(device)
        cast(nn.Module, self._start.networks.vae).to(device)
        self._alphas = self._alphas.to(device)

    def checkpoint_gradients(self) -> None:
        """Have activations computed again on the way back instead of kept."""
        checkpoint_gradients(self.network)

    def losses(self, network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The loss to descend, `loss`, and its parts, each a mean over the samples of the batch.

        network : `self.network`, or what trains it together with other processes
        """
        clean, reference = self._encode(batch)
        noise = batch.noise + self._objective.noise_offset * batch.offset
        noised = add_noise(clean, noise, self._alphas[batch.timesteps], self._objective.context)
        dropped = drops_reference(self._run.seed, step, self._objective.reference_dropout)
        velocity = network(noised.latents, batch.timesteps, batch.audio_features, None if dropped else reference)
        weights = min_snr_weights(noised.alphas, self._objective.snr_gamma)
        errors = masked_losses(velocity, noised.velocity)
        parts = {"velocity_error": errors.mean(), "velocity_loss": (weights * errors).mean()}
        loss = parts["velocity_loss"]
        if self._objective.pixel_weight:
            latents = frames_of(predicted_clean(noised, velocity, clean), batch.decoded)
            parts["pixel_loss"] = (weights * self._pixel_errors(latents, batch)).mean()
            loss = loss + self._objective.pixel_weight * parts["pixel_loss"]
        return {"loss": loss, **parts}

    def strips(self) -> Iterator[Image]:
        """Held-out clips as the networks render them now."""
        return draw_strips(self._model(), self._reader, self._run)

    def _model(self) -> HighSyncModel:
        networks = self._start.networks
        return HighSyncModel(
            vae=networks.vae,
            reference_unet=networks.reference_unet,
            denoising_unet=networks.denoising_unet,
            audio_encoder=networks.audio_encoder,
            config=self._start.config,
            weights=WeightsInfo(name="training", sha256="", trained=True),
            device=self._alphas.device,
            dtype=torch.float32,
        )

    def save(self, folder: Path, name: str) -> None:
        """Write the networks as they are now, in our own layout."""
        save_folder(self._checkpoint(name), folder)

    def save_last(self, folder: Path, name: str) -> None:
        """Write the networks in the published layout, too, if they are of the published size."""
        if self._start.config.has_published_size:
            save_published(self._checkpoint(name), folder)

    def _checkpoint(self, name: str) -> Checkpoint:
        return Checkpoint(self._start.networks, self._start.config, name=name, trained=True, sha256="")

    def _encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Clean latents of the frames (B, C, F, h, w), and of their reference (B, C, h, w)."""
        frames = torch.cat([batch.frames, batch.reference.unsqueeze(1)], dim=1)
        draws = batch.posterior if self._objective.latents == "sample" else torch.zeros_like(batch.posterior)
        latents = encode_frames(self._start.networks.vae, frames, draws) * self._start.config.vae.scaling_factor
        return latents[:, :, :-1], latents[:, :, -1]

    def _pixel_errors(self, latents: Tensor, batch: Batch) -> Tensor:
        """How far decoded latents (B, C, h, w) are from the frames they stand for, (B,)."""
        vae: Any = self._start.networks.vae
        rows = torch.arange(len(batch.decoded), device=batch.decoded.device)
        decoded = vae.decode(latents / self._start.config.vae.scaling_factor).sample
        return masked_losses(decoded, crops_to_pixels(batch.frames[rows, batch.decoded]))


@torch.no_grad()
def encode_frames(vae: AutoencoderKL, frames: Tensor, draws: Tensor) -> Tensor:
    """What the VAE makes of frames, before scaling.

    frames  : (B, F, S, S, 3) uint8 RGB
    draws   : (B, C, F, h, w) standard normal, or zero for the posterior's mean
    returns : (B, C, F, h, w) float32
    """
    encoder: Any = vae
    posteriors = [
        encoder.encode(crops_to_pixels(some)).latent_dist
        for some in torch.split(frames.flatten(0, 1), VAE_BATCH_FRAMES)
    ]
    mean, spread = (torch.cat([getattr(each, name).float() for each in posteriors]) for name in ("mean", "std"))
    latents: Tensor = mean + spread * draws.transpose(1, 2).flatten(0, 1)
    return latents.reshape(*frames.shape[:2], *latents.shape[1:]).transpose(1, 2)
