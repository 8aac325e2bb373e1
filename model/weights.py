"""From a weights spec to a model ready to run."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
from diffusers import AutoencoderKL
from torch import nn

from model.audio.encoder import AudioEncoder
from model.checkpoint import (
    AUDIO_FOLDER_CONFIG,
    AUDIO_FOLDER_WEIGHTS,
    CONFIG_FILE,
    PUBLISHED_AUDIO_ENCODER,
    PUBLISHED_DENOISING_UNET,
    PUBLISHED_REFERENCE_UNET,
    PUBLISHED_VAE_CONFIG,
    PUBLISHED_VAE_WEIGHTS,
    WEIGHT_FILES,
    Checkpoint,
    ModelConfig,
    Networks,
    VaeConfig,
    build_vae,
    load_folder,
    weight_files,
)
from model.errors import DeviceOutOfMemory, WeightsError
from model.fetching import Tell, tell_nobody
from model.hub import HUB_PREFIX, download, parse_hub_spec
from model.networks.config import UNetConfig
from model.networks.denoising_unet import DenoisingUNet
from model.networks.reference_unet import ReferenceUNet

TINY_SPEC = "tiny"

FIRST_CHOICES = (
    CONFIG_FILE,
    *WEIGHT_FILES,
    PUBLISHED_DENOISING_UNET,
    PUBLISHED_REFERENCE_UNET,
    PUBLISHED_VAE_CONFIG,
    PUBLISHED_VAE_WEIGHTS[0],
    PUBLISHED_AUDIO_ENCODER,
    AUDIO_FOLDER_CONFIG,
)
"""What is downloaded of a repository, as far as it is there."""

ALTERNATIVES = (
    (PUBLISHED_VAE_CONFIG, PUBLISHED_VAE_WEIGHTS),
    (AUDIO_FOLDER_CONFIG, (PUBLISHED_AUDIO_ENCODER, *AUDIO_FOLDER_WEIGHTS)),
)
"""Files of which one is needed, best first; the later ones lie beside the config named with them."""

NetworkT = TypeVar("NetworkT")

TINY_MODEL = ModelConfig(
    unet=UNetConfig(channels=(16, 16, 32, 32), attention_heads=1, norm_groups=8),
    vae=VaeConfig(channels=(8, 8, 16, 16), layers_per_block=1, norm_groups=8),
    crop_size=256,
)
"""The whole layout at a size two CPU cores render in a few tenths of a second per frame. It has learned nothing."""


@dataclass(frozen=True, slots=True)
class WeightsInfo:
    """What the networks know. sha256: of the files they came from, or of `name` where there are none."""

    name: str
    sha256: str
    trained: bool


@dataclass(frozen=True, slots=True)
class HighSyncModel:
    """Four networks ready to run: no gradients, on `device`.

    The UNets and the VAE compute in `dtype`. The audio encoder always computes in float32: it costs next to nothing.
    """

    vae: AutoencoderKL
    reference_unet: ReferenceUNet
    denoising_unet: DenoisingUNet
    audio_encoder: AudioEncoder
    config: ModelConfig
    weights: WeightsInfo
    device: torch.device
    dtype: torch.dtype


def load_model(spec: str, *, device: torch.device, dtype: torch.dtype) -> HighSyncModel:
    """Load the model a weights spec names.

    spec: `tiny` (untrained, built in) | a folder in the published or in our own layout | `hf://owner/name`, with
    `@revision` at the end to pin a commit, downloaded once into the Hub's cache and read from there ever after.
    Raises WeightsError, DeviceOutOfMemory.
    """
    if spec == TINY_SPEC:
        return random_model(TINY_MODEL, name="tiny (untrained)", seed=0, device=device, dtype=dtype)
    if spec.startswith(HUB_PREFIX):
        return _place(load_folder(weights_folder(spec), dtype), spec, device, dtype)
    return _place(load_folder(Path(spec), dtype), None, device, dtype)


def random_model(
    config: ModelConfig, *, name: str, seed: int, device: torch.device, dtype: torch.dtype
) -> HighSyncModel:
    """An untrained model of any size: the same weights for the same seed, on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = Networks(
            denoising_unet=_frozen(DenoisingUNet(config.unet), dtype),
            reference_unet=_frozen(ReferenceUNet(config.unet), dtype),
            vae=_frozen(build_vae(config.vae), dtype),
            audio_encoder=AudioEncoder.untrained(seed, config.audio),
        )
    recipe = hashlib.sha256(f"{seed} {config}".encode()).hexdigest()
    return _place(Checkpoint(networks, config, name=name, trained=False, sha256=recipe), None, device, dtype)


def _frozen(network: NetworkT, dtype: torch.dtype) -> NetworkT:
    """The network in `dtype`, for running only."""
    module = cast(nn.Module, network)  # diffusers hides from type checkers that its models are modules
    nn.Module.to(module, dtype).eval().requires_grad_(requires_grad=False)
    return network


def _moved(network: NetworkT, device: torch.device) -> NetworkT:
    """The network on the device."""
    cast(nn.Module, network).to(device)
    return network


def _place(checkpoint: Checkpoint, name: str | None, device: torch.device, dtype: torch.dtype) -> HighSyncModel:
    """Move what was read to the device. `name` replaces the checkpoint's own."""
    networks = checkpoint.networks
    try:
        return HighSyncModel(
            vae=_moved(networks.vae, device),
            reference_unet=_moved(networks.reference_unet, device),
            denoising_unet=_moved(networks.denoising_unet, device),
            audio_encoder=_moved(networks.audio_encoder, device),
            config=checkpoint.config,
            weights=WeightsInfo(name or checkpoint.name, checkpoint.sha256, checkpoint.trained),
            device=device,
            dtype=dtype,
        )
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemory(f"The memory of {device} does not hold the networks.") from error


def weights_folder(spec: str, tell: Tell = tell_nobody, *, update: bool = False) -> Path:
    """
    The folder with the files of `hf://owner/name[@revision]`: from the Hub's cache without asking anybody, or, if one
    is missing there or `update`, downloaded. Its files have yet to be checked. Raises WeightsError.
    """
    repository = parse_hub_spec(spec)
    folder = repository.snapshot()
    if folder is not None and not update and _is_complete(folder):
        return folder
    return download(repository, wanted_files, tell)


def present_folder(spec: str) -> Path:
    """The folder that `hf://owner/name[@revision]` or a path names on this machine. Raises WeightsError."""
    folder = parse_hub_spec(spec).snapshot() if spec.startswith(HUB_PREFIX) else Path(spec)
    if folder is None:
        raise WeightsError(f"{spec} is not on this machine; `highsync weights pull` fetches it.")
    return folder


def wanted_files(names: Collection[str]) -> tuple[str, ...]:
    """Which of a repository's files are read: those of either layout, and of several that would do the best only."""
    wanted = [name for name in FIRST_CHOICES if name in names]
    for config, best_first in ALTERNATIVES:
        if config in names and not any(name in wanted for name in best_first):
            wanted += [name for name in best_first if name in names][:1]
    return tuple(wanted)


def _is_complete(folder: Path) -> bool:
    try:
        weight_files(folder)
    except WeightsError:
        return False
    return True
