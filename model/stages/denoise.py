"""Stage denoise: crops and audio features in, crops whose mouths follow the audio out (docs/model.md).

Only the mouth rectangle is generated. Outside it the crop's own clean latents are put back before every step and at the
end, as in the published sampler. Two published faults are not repeated: overlapping predictions are averaged whether or
not guidance is on, and pixels are normalised the same way however bright the clip is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from model.errors import DeviceOutOfMemory
from model.networks.mouth_mask import mouth_mask
from model.networks.reference_features import ReferenceFeatures
from model.schedule import DdimSchedule, draw_noise
from model.stages.plan_windows import WindowPlan
from model.weights import HighSyncModel
from model.windows import WINDOW_FRAMES, Window

VAE_BATCH_FRAMES = 5
"""Frames the VAE encodes at once. It decodes one at a time, its most expensive moment."""

OnStep = Callable[[int, int], None]
"""Called with (window passes done, window passes in all) after every piece of work: a batch of frames encoded, a window
passed, a frame decoded. It may raise to stop the stage; the exception passes through unchanged."""

OnPiece = Callable[[], object]
"""Called after every piece of work that is not a window pass. It may raise, too."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What steers the denoising of a clip of F frames.

    latents            : (1, 4, F, h, w) float32, the crops' own clean latents
    audio_features     : (1, F, 50, 384)
    reference_features : of all F frames
    guidance_scale     : 1 or less = no guidance, half the cost
    """

    latents: Tensor
    audio_features: Tensor
    reference_features: ReferenceFeatures
    guidance_scale: float


@dataclass(frozen=True, slots=True)
class DenoisingStep:
    """One sampling step done: the velocity it followed and the latents it led to, float32 (1, 4, F, h, w) each."""

    timestep: int
    velocity: Tensor
    latents: Tensor


def denoise(
    model: HighSyncModel,
    crops: Tensor,
    audio_features: Tensor,
    *,
    windows: WindowPlan,
    guidance_scale: float,
    generator: torch.Generator,
    on_step: OnStep,
) -> Tensor:
    """Generate the mouths of one clip.

    crops          : (F, H, W, 3) uint8 RGB
    audio_features : (F, 50, 384)
    windows        : plan_windows(F, num_inference_steps)
    generator      : CPU generator the initial noise is drawn from
    returns        : (F, H, W, 3) uint8 RGB on the CPU
    Raises DeviceOutOfMemory.
    """
    num_frames = crops.shape[0]
    if audio_features.shape[0] != num_frames:
        raise ValueError(f"{num_frames} crops need as many audio features, got {audio_features.shape[0]}.")
    if windows.num_frames != max(num_frames, WINDOW_FRAMES):
        raise ValueError(f"The windows are planned for {windows.num_frames} frames, the clip has {num_frames}.")
    before, after = partial(on_step, 0, windows.num_passes), partial(on_step, windows.num_passes, windows.num_passes)
    try:
        with torch.inference_mode():
            clean_latents = hold_last_frame(encode_crops(model, crops, before), windows.num_frames, dim=2)
            audio_features = hold_last_frame(audio_features, windows.num_frames, dim=0)
            conditions = Conditions(
                latents=clean_latents,
                audio_features=audio_features.unsqueeze(0).to(model.device, model.dtype),
                reference_features=read_reference(model, clean_latents, before),
                guidance_scale=guidance_scale,
            )
            noise = draw_noise(generator, clean_latents.shape)
            latents = denoise_latents(model, noise, conditions, windows, on_step)
            return decode_latents(model, latents[:, :, :num_frames], after)
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemory(f"The device's memory does not hold a render of {num_frames} frames.") from error


def encode_crops(model: HighSyncModel, crops: Tensor, on_piece: OnPiece) -> Tensor:
    """Crops (F, H, W, 3) uint8 RGB to clean latents (1, 4, F, h, w) float32: the scaled mean of the VAE's posterior."""
    means = []
    for batch in torch.split(crops, VAE_BATCH_FRAMES):
        pixels = crops_to_pixels(batch.to(model.device)).to(model.dtype)
        means.append(_vae(model).encode(pixels).latent_dist.mean.float())
        on_piece()
    latents: Tensor = torch.cat(means) * model.config.vae.scaling_factor
    return latents.transpose(0, 1).unsqueeze(0)


def crops_to_pixels(crops: Tensor) -> Tensor:
    """Crops (F, H, W, 3) uint8 to pixels (F, 3, H, W) float32 in [-1, 1].

    Contiguous: on tensors with channels last, torch's GroupNorm on the CPU keeps only three digits.
    """
    return ((crops.permute(0, 3, 1, 2).float() / 255.0 - 0.5) / 0.5).contiguous()


def hold_last_frame(frames: Tensor, num_frames: int, *, dim: int) -> Tensor:
    """Lengthen a clip that is shorter than `num_frames` along `dim` by repeating its last frame."""
    missing = max(num_frames - frames.shape[dim], 0)
    last = frames.narrow(dim, frames.shape[dim] - 1, 1)
    return torch.cat([frames, *[last] * missing], dim=dim)


def read_reference(model: HighSyncModel, latents: Tensor, on_piece: OnPiece) -> ReferenceFeatures:
    """The reference features of clean latents (1, 4, F, h, w): they hold for all steps and windows."""
    parts = []
    for frames in torch.split(latents[0].transpose(0, 1), WINDOW_FRAMES):
        parts.append(model.reference_unet(frames.to(model.dtype)))
        on_piece()
    return ReferenceFeatures.concatenate(parts)


def denoise_latents(
    model: HighSyncModel, noise: Tensor, conditions: Conditions, windows: WindowPlan, on_step: OnStep
) -> Tensor:
    """From noise (1, 4, F, h, w) to the finished latents, clean outside the mouth. float32."""
    latents = noise
    for step in denoising_steps(model, noise, conditions, windows, on_step):
        latents = step.latents
    return keep_outside_mouth(latents, conditions.latents)


def denoising_steps(
    model: HighSyncModel, noise: Tensor, conditions: Conditions, windows: WindowPlan, on_step: OnStep
) -> Iterator[DenoisingStep]:
    """Take the sampling steps one by one, as many as the plan has."""
    schedule = DdimSchedule(len(windows.steps))
    latents = noise.to(model.device, torch.float32)
    passes_done = 0
    for timestep, step_windows in zip(schedule.timesteps, windows.steps, strict=True):
        latents = keep_outside_mouth(latents, conditions.latents)
        predicted, counts = torch.zeros_like(latents), latents.new_zeros(windows.num_frames)
        for window in step_windows:
            targets, positions = list(window.targets), list(window.positions)
            predicted[:, :, targets] += predict_velocity(model, latents, timestep, window, conditions)[:, :, positions]
            counts[targets] += 1
            passes_done += 1
            on_step(passes_done, windows.num_passes)
        velocity = predicted / counts[:, None, None]
        latents = schedule.step(velocity, timestep, latents)
        yield DenoisingStep(timestep, velocity, latents)


def predict_velocity(
    model: HighSyncModel, latents: Tensor, timestep: int, window: Window, conditions: Conditions
) -> Tensor:
    """The velocity (1, 4, 12, h, w) float32 the network sees in one window, guided away from what it would see without
    audio and reference."""
    frames = list(window.frames)
    noisy = latents[:, :, frames].to(model.dtype)
    conditional: Tensor = model.denoising_unet(
        noisy, timestep, conditions.audio_features[:, frames], conditions.reference_features.select(frames)
    ).float()
    if conditions.guidance_scale <= 1.0:
        return conditional
    unconditional: Tensor = model.denoising_unet(noisy, timestep, None, None).float()
    return unconditional + conditions.guidance_scale * (conditional - unconditional)


def keep_outside_mouth(latents: Tensor, clean_latents: Tensor) -> Tensor:
    """`latents` inside the mouth rectangle, the crop's own clean latents outside."""
    mask = mouth_mask(latents.shape[-1]).to(latents)
    return latents * mask + clean_latents * (1.0 - mask)


def decode_latents(model: HighSyncModel, latents: Tensor, on_piece: OnPiece) -> Tensor:
    """Latents (1, 4, F, h, w) to crops (F, H, W, 3) uint8 RGB on the CPU, one frame at a time."""
    crops = []
    for frame in torch.split(latents[0].transpose(0, 1), 1):
        crops.append((decode_frame(model, frame) * 255.0).to(torch.uint8).cpu())  # truncates, as published
        on_piece()
    return torch.stack(crops)


def decode_frame(model: HighSyncModel, latents: Tensor) -> Tensor:
    """Latents (1, 4, h, w) of one frame to its picture (H, W, 3) float32 RGB in [0, 1].

    Raises FloatingPointError when the networks left the range of their number format.
    """
    pixels = _vae(model).decode((latents / model.config.vae.scaling_factor).to(model.dtype)).sample.float()
    if not torch.isfinite(pixels).all():
        raise FloatingPointError(f"The networks gave values that are not finite in {model.dtype}.")
    picture: Tensor = (pixels[0] / 2.0 + 0.5).clamp(0.0, 1.0)
    return picture.permute(1, 2, 0)


def _vae(model: HighSyncModel) -> Any:
    """The VAE. diffusers hides the methods of its models from type checkers."""
    return model.vae
