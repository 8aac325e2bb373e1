"""The networks a run starts with: trained ones, Stable Diffusion's, or random ones of any size."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from model.checkpoint import (
    ModelConfig,
    Networks,
    diffusers_weights,
    load_audio_encoder,
    load_folder,
    load_vae,
)
from model.networks.config import UNetConfig
from model.networks.denoising_unet import DenoisingUNet
from model.networks.reference_unet import ReferenceUNet
from model.training.config import StartConfig
from model.training.errors import ConfigError
from model.training.shards import AUDIO_ENCODER_FILE, DatasetInfo
from model.weight_files import check_fit, read_json, read_tensors

NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Start:
    """Networks in float32 on the CPU, without gradients, and their sizes."""

    networks: Networks
    config: ModelConfig


@dataclass(frozen=True, slots=True)
class StableDiffusionConfig:
    """The numbers of a diffusers UNet's `config.json` that matter; the file holds more.

    attention_head_dim : the number of heads, as Stable Diffusion 1.5 uses the word
    """

    block_out_channels: tuple[int, int, int, int]
    attention_head_dim: int = 8
    norm_num_groups: int = 32
    in_channels: int = 4


_STABLE_DIFFUSION = TypeAdapter(StableDiffusionConfig)


def prepare_start(config: StartConfig, dataset: Path, info: DatasetInfo, seed: int) -> Start:
    """Load or make the networks. Those that no file brings are drawn from the seed, the same on every machine.

    The audio encoder is the dataset's: its features are what the networks will have learned to hear.
    Raises WeightsError, or ConfigError when networks and dataset do not fit.
    """
    audio_encoder = load_audio_encoder(dataset / AUDIO_ENCODER_FILE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.weights is not None:
            found = load_folder(config.weights, torch.float32)
            denoising_unet, reference_unet = found.networks.denoising_unet, found.networks.reference_unet
            unet, vae, vae_config = found.config.unet, found.networks.vae, found.config.vae
            _check_crop(found.config.crop_size, info)
        elif config.stable_diffusion is not None:
            unet, state = read_stable_diffusion(config.stable_diffusion / "unet", info.audio_shape[1])
            denoising_unet = with_known(DenoisingUNet(unet), state, config.stable_diffusion)
            reference_unet = with_known(ReferenceUNet(unet), state, config.stable_diffusion)
        else:
            unet = cast(UNetConfig, config.unet)
            denoising_unet, reference_unet = DenoisingUNet(unet), ReferenceUNet(unet)
    vae_folder = config.vae or (config.stable_diffusion / "vae" if config.stable_diffusion else None)
    if vae_folder is not None:
        vae, vae_config = load_vae(vae_folder, torch.float32)
    if unet.audio_width != info.audio_shape[1]:
        raise ConfigError(f"The UNets hear tokens of {unet.audio_width}, the dataset's are {info.audio_shape[1]} wide.")
    for network in (denoising_unet, reference_unet):
        network.requires_grad_(requires_grad=False)
    networks = Networks(denoising_unet, reference_unet, vae, audio_encoder)
    return Start(networks, ModelConfig(unet, vae_config, info.crop_size, audio_encoder.config))


def read_stable_diffusion(folder: Path, audio_width: int) -> tuple[UNetConfig, dict[str, Tensor]]:
    """Sizes and tensors of a diffusers UNet of the layout of Stable Diffusion 1.5. Raises WeightsError."""
    numbers = read_json(folder / "config.json", _STABLE_DIFFUSION)
    config = UNetConfig(
        channels=numbers.block_out_channels,
        latent_channels=numbers.in_channels,
        attention_heads=numbers.attention_head_dim,
        norm_groups=numbers.norm_num_groups,
        audio_width=audio_width,
    )
    return config, read_tensors(diffusers_weights(folder))


def with_known(network: NetworkT, state: Mapping[str, Tensor], source: Path) -> NetworkT:
    """The network with Stable Diffusion's weights in every part it has in common with it.

    Motion modules are ours, and what listened to text, keys and values of `attn2`, listens to audio now: they stay as
    they are. Raises WeightsError when anything else is missing.
    """
    own = network.state_dict()
    new = {key for key in own if "motion_modules" in key or "attn2.to_k" in key or "attn2.to_v" in key}
    known = {key: state[key].float() for key in own.keys() - new if key in state}
    check_fit({key: own[key] for key in own.keys() - new}, known, source)
    network.load_state_dict(known | {key: own[key] for key in new})
    return network


def _check_crop(crop_size: int, info: DatasetInfo) -> None:
    if crop_size != info.crop_size:
        raise ConfigError(f"The weights are for crops of {crop_size} px, the dataset's have {info.crop_size}.")
