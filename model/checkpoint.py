"""Weights on disk: the published layout and our own, read strictly, and our own written.

Nothing in a file is run: pickles are read with `weights_only`. Every tensor has to be there, none may be left over, and
each has to have its shape, otherwise WeightsError names the tensor and the file.
"""

import hashlib
import json
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar, cast

import torch
from diffusers import AutoencoderKL
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.audio.encoder import AudioEncoder
from model.errors import WeightsError
from model.networks.config import FULL, UNetConfig
from model.networks.denoising_unet import DenoisingUNet
from model.networks.reference_unet import ReferenceUNet

PUBLISHED_DENOISING_UNET = "denoising_unet-500.pth"
PUBLISHED_REFERENCE_UNET = "reference_unet-500.pth"
PUBLISHED_AUDIO_ENCODER = "audio_processor/whisper_tiny.pt"
PUBLISHED_VAE_CONFIG = "sd-vae-ft-mse/config.json"
PUBLISHED_VAE_WEIGHTS = (
    "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
    "sd-vae-ft-mse/diffusion_pytorch_model.bin",
)
"""Either will do; the first that exists is read."""

CONFIG_FILE = "config.json"
WEIGHT_FILES = (
    "denoising_unet.safetensors",
    "reference_unet.safetensors",
    "vae.safetensors",
    "audio_encoder.safetensors",
)
"""Our own layout: these and `config.json`, which holds the SHA-256 of each."""

OLD_VAE_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
"""How the VAE's attention was spelled before diffusers 0.15, and how it is now."""

UNREADABLE = (
    *(OSError, EOFError, UnpicklingError, SafetensorError, zipfile.BadZipFile, struct.error),
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
)
"""What torch and safetensors raise at bytes that are no checkpoint (found by reading damaged ones)."""

NetworkT = TypeVar("NetworkT")
"""A network. Not bound to nn.Module: diffusers hides from type checkers that its models are modules."""

ContentT = TypeVar("ContentT")


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """Size of the VAE; the defaults are Stable Diffusion's.

    channels       : width at each resolution, finest first; each but the last is followed by a halving
    scaling_factor : what encoded means are multiplied by to become latents
    """

    channels: tuple[int, int, int, int] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_groups: int = 32
    latent_channels: int = 4
    scaling_factor: float = 0.18215


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Every number the networks are built from. crop_size: side of the square crop they see, in px."""

    unet: UNetConfig = FULL
    vae: VaeConfig = VaeConfig()
    crop_size: int = 512

    def __post_init__(self) -> None:
        if self.crop_size < 256 or self.crop_size % 64:
            raise ValueError(f"The crop is halved six times around the mouth: {self.crop_size} px will not do.")
        if self.unet.latent_channels != self.vae.latent_channels:
            raise ValueError("The UNets and the VAE have to agree on the channels of a latent.")


@dataclass(frozen=True, slots=True)
class Networks:
    """The four networks of one model, on the CPU until they are placed, without gradients."""

    denoising_unet: DenoisingUNet
    reference_unet: ReferenceUNet
    vae: AutoencoderKL
    audio_encoder: AudioEncoder


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read from a folder. sha256 covers every file read."""

    networks: Networks
    config: ModelConfig
    name: str
    trained: bool
    sha256: str


@dataclass(frozen=True, slots=True)
class OwnConfig:
    """`config.json` of our own layout. files: SHA-256 in hex by file name."""

    name: str
    trained: bool
    model: ModelConfig
    files: dict[str, str]


_OWN_CONFIG = TypeAdapter(OwnConfig)


@dataclass(frozen=True, slots=True)
class PublishedVaeConfig:
    """The numbers of a diffusers AutoencoderKL's `config.json` that matter; the file holds more."""

    block_out_channels: tuple[int, int, int, int]
    layers_per_block: int = 2
    norm_num_groups: int = 32
    latent_channels: int = 4
    scaling_factor: float = 0.18215

    def to_vae_config(self) -> VaeConfig:
        """The same numbers in our words."""
        return VaeConfig(
            channels=self.block_out_channels,
            layers_per_block=self.layers_per_block,
            norm_groups=self.norm_num_groups,
            latent_channels=self.latent_channels,
            scaling_factor=self.scaling_factor,
        )


_PUBLISHED_VAE_CONFIG = TypeAdapter(PublishedVaeConfig)


def build_vae(config: VaeConfig) -> AutoencoderKL:
    """Stable Diffusion's VAE at this size, with random weights."""
    levels = len(config.channels)
    return AutoencoderKL(  # type: ignore[no-untyped-call]
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.channels,
        layers_per_block=config.layers_per_block,
        latent_channels=config.latent_channels,
        norm_num_groups=config.norm_groups,
        scaling_factor=config.scaling_factor,
    )


def load_folder(folder: Path, dtype: torch.dtype) -> Checkpoint:
    """Read a folder of either layout; the UNets and the VAE are kept in `dtype`. Raises WeightsError."""
    if not folder.is_dir():
        raise WeightsError(f"There is no folder {folder} to read weights from.")
    if (folder / CONFIG_FILE).exists():
        return _load_own(folder, dtype)
    return _load_published(folder, dtype)


def save_folder(checkpoint: Checkpoint, folder: Path) -> None:
    """Write our own layout. The checkpoint's own sha256 is not written: it follows from the files."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = checkpoint.networks
    vae = cast(nn.Module, networks.vae)
    modules = (networks.denoising_unet, networks.reference_unet, vae, networks.audio_encoder)
    for name, module in zip(WEIGHT_FILES, modules, strict=True):
        save_file({key: tensor.contiguous() for key, tensor in module.state_dict().items()}, folder / name)
    own = OwnConfig(
        name=checkpoint.name,
        trained=checkpoint.trained,
        model=checkpoint.config,
        files={name: file_sha256(folder / name) for name in WEIGHT_FILES},
    )
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(own), indent=2) + "\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_own(folder: Path, dtype: torch.dtype) -> Checkpoint:
    """Read our own layout, every file checked against the hash `config.json` gives."""
    config_path = folder / CONFIG_FILE
    own = _read_json(config_path, _OWN_CONFIG)
    paths = [folder / name for name in WEIGHT_FILES]
    for path in paths:
        if _sha256(path) != own.files.get(path.name):
            raise WeightsError(f"{path} is not the file {config_path.name} names: its SHA-256 differs.")
    denoising_unet, reference_unet, vae, audio_encoder = paths
    return Checkpoint(
        networks=Networks(
            denoising_unet=_load(lambda: DenoisingUNet(own.model.unet), denoising_unet, dtype),
            reference_unet=_load(lambda: ReferenceUNet(own.model.unet), reference_unet, dtype),
            vae=_load(lambda: build_vae(own.model.vae), vae, dtype),
            audio_encoder=_load(AudioEncoder, audio_encoder, torch.float32),
        ),
        config=own.model,
        name=own.name,
        trained=own.trained,
        sha256=_sha256(config_path),
    )


def _load_published(folder: Path, dtype: torch.dtype) -> Checkpoint:
    """Read the published layout (highsync.md section 0)."""
    vae_weights = next((folder / name for name in PUBLISHED_VAE_WEIGHTS if (folder / name).exists()), None)
    needed = (PUBLISHED_DENOISING_UNET, PUBLISHED_REFERENCE_UNET, PUBLISHED_VAE_CONFIG, PUBLISHED_AUDIO_ENCODER)
    missing = [name for name in needed if not (folder / name).exists()]
    if vae_weights is None:
        missing.append(" or ".join(PUBLISHED_VAE_WEIGHTS))
    if missing or vae_weights is None:
        raise WeightsError(f"{folder} holds no weights: it lacks {', '.join(missing)} (and {CONFIG_FILE}).")
    paths = [*(folder / name for name in needed), vae_weights]
    denoising_unet, reference_unet, vae_config, audio_encoder, _ = paths
    vae_numbers = _read_json(vae_config, _PUBLISHED_VAE_CONFIG).to_vae_config()
    hashes = [f"{_checked_sha256(path)}  {path.relative_to(folder)}\n" for path in paths]
    return Checkpoint(
        networks=Networks(
            denoising_unet=_load(lambda: DenoisingUNet(FULL), denoising_unet, dtype),
            reference_unet=_load(lambda: ReferenceUNet(FULL), reference_unet, dtype),
            vae=_load(lambda: build_vae(vae_numbers), vae_weights, dtype, rename=new_vae_key),
            audio_encoder=AudioEncoder.from_published(audio_encoder),
        ),
        config=ModelConfig(vae=vae_numbers),
        name=folder.name,
        trained=True,
        sha256=hashlib.sha256("".join(hashes).encode()).hexdigest(),
    )


def new_vae_key(key: str) -> str:
    """The present name of a tensor of the VAE that may be spelled the old way."""
    for old, new in OLD_VAE_ATTENTION:
        key = re.sub(rf"(\.attentions\.\d+\.){old}\.", rf"\g<1>{new}.", key)
    return key


def _load(
    build: Callable[[], NetworkT], path: Path, dtype: torch.dtype, rename: Callable[[str], str] = str
) -> NetworkT:
    """Build a network without memory, then give it the file's tensors in `dtype`, on the CPU."""
    with torch.device("meta"):
        network = build()
    state = {rename(key): tensor for key, tensor in read_tensors(path).items()}
    module = cast(nn.Module, network)
    _check_fit(module.state_dict(), state, path)
    # A copy, not a view: what torch.load maps from the file has to stay what it was when it was hashed.
    module.load_state_dict({key: tensor.to(dtype, copy=True) for key, tensor in state.items()}, assign=True)
    module.eval().requires_grad_(requires_grad=False)
    return network


def _check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Raise WeightsError unless both hold the same tensors in the same shapes."""
    if missing := sorted(expected.keys() - found.keys()):
        raise WeightsError(f"{path} lacks {_named(missing)}.")
    if extra := sorted(found.keys() - expected.keys()):
        raise WeightsError(f"{path} holds tensors the network has no place for: {_named(extra)}.")
    for key, tensor in expected.items():
        if found[key].shape != tensor.shape:
            raise WeightsError(f"{path}: {key} is {tuple(found[key].shape)}, the network needs {tuple(tensor.shape)}.")
        if not found[key].is_floating_point():
            raise WeightsError(f"{path}: {key} holds {found[key].dtype}, not floating-point numbers.")


def _named(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a pickled state dict. Raises WeightsError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UNREADABLE as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise WeightsError(f"{path} is not a state dict: it holds more than named tensors.")
    return state


def _read_json(path: Path, content: TypeAdapter[ContentT]) -> ContentT:
    try:
        return content.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error


def _checked_sha256(path: Path) -> str:
    """SHA-256 of a file. One that lies in the Hub's cache is called by it, and has to be what it is called."""
    sha256, name = _sha256(path), path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", name) and name != sha256:
        raise WeightsError(f"{path} is not the file the Hub announced: its SHA-256 differs. Delete it and try again.")
    return sha256
