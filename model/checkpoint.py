"""Weights on disk: the published layout and our own, read strictly, and our own written.

Nothing in a file is run (`weight_files`). Every tensor has to be there, none may be left over, and each has to have its
shape, otherwise WeightsError names the tensor and the file.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers import AutoencoderKL
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import nn

from model.audio.encoder import HUGGING_FACE_NUMBERS, WHISPER_TINY, AudioEncoder, AudioEncoderConfig
from model.errors import WeightsError
from model.hashes import announced_hash, file_sha256, is_announced_hash
from model.networks.config import FULL, UNetConfig
from model.networks.denoising_unet import DenoisingUNet
from model.networks.reference_unet import ReferenceUNet
from model.weight_files import check_fit, parse_json, read_json, read_metadata, read_tensors

PUBLISHED_DENOISING_UNET = "denoising_unet-500.pth"
PUBLISHED_REFERENCE_UNET = "reference_unet-500.pth"
PUBLISHED_AUDIO_ENCODER = "audio_processor/whisper_tiny.pt"
AUDIO_FOLDER_CONFIG = "audio_processor/config.json"
AUDIO_FOLDER_WEIGHTS = ("audio_processor/model.safetensors", "audio_processor/pytorch_model.bin")
"""Where `whisper_tiny.pt` is absent, the folder is read as Hugging Face's: the config and the first of the others."""

CONFIG_FILE = "config.json"
SAFETENSORS_OR_PICKLE = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
"""What a folder of diffusers' holds, the weights in one of two forms; the first that exists is read."""

PUBLISHED_VAE = "sd-vae-ft-mse"
PUBLISHED_VAE_CONFIG = f"{PUBLISHED_VAE}/{CONFIG_FILE}"
PUBLISHED_VAE_WEIGHTS = tuple(f"{PUBLISHED_VAE}/{name}" for name in SAFETENSORS_OR_PICKLE)
"""Either will do; the first that exists is read."""

WEIGHT_FILES = (
    "denoising_unet.safetensors",
    "reference_unet.safetensors",
    "vae.safetensors",
    "audio_encoder.safetensors",
)
"""Our own layout: these and `config.json`, which holds the SHA-256 of each. A folder with any of them is one."""

OLD_VAE_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
"""How the VAE's attention was spelled before diffusers 0.15, and how it is now."""

NetworkT = TypeVar("NetworkT")
"""A network. Not bound to nn.Module: diffusers hides from type checkers that its models are modules."""


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
    audio: AudioEncoderConfig = WHISPER_TINY

    def __post_init__(self) -> None:
        if self.crop_size < 256 or self.crop_size % 64:
            raise ValueError(f"The crop is halved six times around the mouth: {self.crop_size} px will not do.")
        if self.unet.latent_channels != self.vae.latent_channels:
            raise ValueError("The UNets and the VAE have to agree on the channels of a latent.")
        if self.unet.audio_width != self.audio.width:
            raise ValueError("The UNets have to hear tokens as wide as the audio encoder makes them.")

    @property
    def has_published_size(self) -> bool:
        """Whether the published layout, which says nothing of the sizes of UNets and audio encoder, can hold it."""
        return (self.unet, self.audio) == (FULL, WHISPER_TINY)


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
_AUDIO_CONFIG = TypeAdapter(AudioEncoderConfig)
_SIZE = "size"
"""The metadata of an audio encoder's file."""


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
    return _load_own(folder, dtype) if _is_own(folder) else _load_published(folder, dtype)


def save_folder(checkpoint: Checkpoint, folder: Path) -> None:
    """Write our own layout. The checkpoint's own sha256 is not written: it follows from the files."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = checkpoint.networks
    modules = (networks.denoising_unet, networks.reference_unet, cast(nn.Module, networks.vae))
    *names, audio_encoder = WEIGHT_FILES
    for name, module in zip(names, modules, strict=True):
        save_file({key: tensor.contiguous() for key, tensor in module.state_dict().items()}, folder / name)
    save_audio_encoder(networks.audio_encoder, folder / audio_encoder)
    own = OwnConfig(
        name=checkpoint.name,
        trained=checkpoint.trained,
        model=checkpoint.config,
        files={name: file_sha256(folder / name) for name in WEIGHT_FILES},
    )
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(own), indent=2) + "\n")


def save_published(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the published layout, the audio encoder as Hugging Face's. Raises ValueError unless of the published size.

    The UNets are pickled as they were, which is what other programs for these weights read.
    """
    if not checkpoint.config.has_published_size:
        raise ValueError("The published layout says nothing of sizes: it is for networks of the published size.")
    networks = checkpoint.networks
    (folder / AUDIO_FOLDER_CONFIG).parent.mkdir(parents=True, exist_ok=True)
    torch.save(networks.denoising_unet.state_dict(), folder / PUBLISHED_DENOISING_UNET)
    torch.save(networks.reference_unet.state_dict(), folder / PUBLISHED_REFERENCE_UNET)
    save_vae(networks.vae, folder / PUBLISHED_VAE)
    encoder = {f"encoder.{key}": tensor for key, tensor in networks.audio_encoder.whisper.state_dict().items()}
    save_file(encoder, folder / AUDIO_FOLDER_WEIGHTS[0])
    (folder / AUDIO_FOLDER_CONFIG).write_text(json.dumps(HUGGING_FACE_NUMBERS, indent=2) + "\n")


def save_vae(vae: AutoencoderKL, folder: Path) -> None:
    """Write a VAE as diffusers does."""
    saved: Any = vae  # diffusers hides the methods of its models from type checkers
    saved.save_pretrained(folder)


def load_vae(folder: Path, dtype: torch.dtype) -> tuple[AutoencoderKL, VaeConfig]:
    """Read a diffusers folder of a VAE. Raises WeightsError."""
    config = read_json(folder / CONFIG_FILE, _PUBLISHED_VAE_CONFIG).to_vae_config()
    return _load(lambda: build_vae(config), diffusers_weights(folder), dtype, rename=new_vae_key), config


def diffusers_weights(folder: Path) -> Path:
    """The file of weights in a folder of diffusers'; where there is none, the one that should be."""
    paths = [folder / name for name in SAFETENSORS_OR_PICKLE]
    return next((path for path in paths if path.exists()), paths[0])


def save_audio_encoder(encoder: AudioEncoder, path: Path) -> None:
    """Write an audio encoder as our own layout holds it, with its size in the file."""
    state = {key: tensor.contiguous() for key, tensor in encoder.state_dict().items()}
    save_file(state, path, metadata={_SIZE: json.dumps(asdict(encoder.config))})


def load_audio_encoder(path: Path) -> AudioEncoder:
    """Read an audio encoder as our own layout holds it; of Whisper-tiny's size unless the file says another.

    Raises WeightsError.
    """
    said = read_metadata(path).get(_SIZE)
    config = WHISPER_TINY if said is None else parse_json(said, _AUDIO_CONFIG, path)
    return _load(lambda: AudioEncoder(config), path, torch.float32)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that `load_folder` reads of a folder of either layout. Raises WeightsError that names those missing."""
    if not folder.is_dir():
        raise WeightsError(f"There is no folder {folder} to read weights from.")
    if not _is_own(folder):
        return _published_files(folder).all
    paths = tuple(folder / name for name in (CONFIG_FILE, *WEIGHT_FILES))
    for path in paths:
        if not path.exists():
            raise WeightsError(f"{path} cannot be read: there is no such file.")
    return paths


def checked_files(folder: Path) -> dict[Path, str]:
    """
    The SHA-256, in hex, of every file of `weight_files`.

    Raises WeightsError unless each is the one that `config.json` or its name in the Hub's cache calls for.
    """
    if _is_own(folder):
        _, sha256s = _checked_own(folder)
        return sha256s
    return {path: _checked_sha256(path) for path in weight_files(folder)}


def _is_own(folder: Path) -> bool:
    """Whether a folder has our own layout."""
    return any((folder / name).exists() for name in WEIGHT_FILES)


def _checked_own(folder: Path) -> tuple[OwnConfig, dict[Path, str]]:
    """The config of our own layout, and the SHA-256 of every file, each checked against the one the config gives."""
    config_path, *paths = weight_files(folder)
    sha256s = {path: _checked_sha256(path) for path in (config_path, *paths)}
    own = read_json(config_path, _OWN_CONFIG)
    for path in paths:
        if sha256s[path] != own.files.get(path.name):
            raise WeightsError(f"{path} is not the file {config_path.name} names: its SHA-256 differs.")
    return own, sha256s


def _load_own(folder: Path, dtype: torch.dtype) -> Checkpoint:
    """Read our own layout."""
    own, sha256s = _checked_own(folder)
    (_, sha256), *_ = sha256s.items()
    _, denoising_unet, reference_unet, vae, audio_encoder = sha256s
    return Checkpoint(
        networks=Networks(
            denoising_unet=_load(lambda: DenoisingUNet(own.model.unet), denoising_unet, dtype),
            reference_unet=_load(lambda: ReferenceUNet(own.model.unet), reference_unet, dtype),
            vae=_load(lambda: build_vae(own.model.vae), vae, dtype),
            audio_encoder=load_audio_encoder(audio_encoder),
        ),
        config=own.model,
        name=own.name,
        trained=own.trained,
        sha256=sha256,
    )


def _load_published(folder: Path, dtype: torch.dtype) -> Checkpoint:
    """Read the published layout (docs/model.md)."""
    files = _published_files(folder)
    vae_numbers = read_json(files.vae_config, _PUBLISHED_VAE_CONFIG).to_vae_config()
    hashes = [f"{_checked_sha256(path)}  {path.relative_to(folder)}\n" for path in files.all]
    return Checkpoint(
        networks=Networks(
            denoising_unet=_load(lambda: DenoisingUNet(FULL), files.denoising_unet, dtype),
            reference_unet=_load(lambda: ReferenceUNet(FULL), files.reference_unet, dtype),
            vae=_load(lambda: build_vae(vae_numbers), files.vae_weights, dtype, rename=new_vae_key),
            audio_encoder=_load_audio_encoder(files),
        ),
        config=ModelConfig(vae=vae_numbers),
        name=folder.name,
        trained=True,
        sha256=hashlib.sha256("".join(hashes).encode()).hexdigest(),
    )


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """The files of a folder in the published layout. audio_config: only beside weights from Hugging Face."""

    denoising_unet: Path
    reference_unet: Path
    vae_config: Path
    vae_weights: Path
    audio_weights: Path
    audio_config: Path | None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file that is read."""
        config = () if self.audio_config is None else (self.audio_config,)
        return (
            *(self.denoising_unet, self.reference_unet, self.vae_config),
            *(self.audio_weights, *config, self.vae_weights),
        )


def _published_files(folder: Path) -> PublishedFiles:
    """Find the files of the published layout. Raises WeightsError that names those missing."""
    missing: list[str] = []

    def first_of(*names: str) -> Path:
        found = next((folder / name for name in names if (folder / name).exists()), None)
        if found is None:
            missing.append(" or ".join(names))
        return found or folder / names[0]

    unets = first_of(PUBLISHED_DENOISING_UNET), first_of(PUBLISHED_REFERENCE_UNET)
    vae = first_of(PUBLISHED_VAE_CONFIG), first_of(*PUBLISHED_VAE_WEIGHTS)
    audio_weights = first_of(PUBLISHED_AUDIO_ENCODER, *AUDIO_FOLDER_WEIGHTS)
    from_hugging_face = audio_weights != folder / PUBLISHED_AUDIO_ENCODER
    audio_config = first_of(AUDIO_FOLDER_CONFIG) if from_hugging_face else None
    if missing:
        raise WeightsError(f"{folder} holds no weights: it lacks {', '.join(missing)} (and {', '.join(WEIGHT_FILES)}).")
    return PublishedFiles(*unets, *vae, audio_weights, audio_config)


def _load_audio_encoder(files: PublishedFiles) -> AudioEncoder:
    """Read the audio encoder from whichever of its two forms is there."""
    if files.audio_config is None:
        return AudioEncoder.from_published(files.audio_weights)
    return AudioEncoder.from_folder(files.audio_config.parent)


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
    check_fit(module.state_dict(), state, path)
    # A copy, not a view: what torch.load maps from the file has to stay what it was when it was hashed.
    module.load_state_dict({key: tensor.to(dtype, copy=True) for key, tensor in state.items()}, assign=True)
    module.eval().requires_grad_(requires_grad=False)
    return network


def _checked_sha256(path: Path) -> str:
    """SHA-256 of a file. One that lies in the Hub's cache is called by its hash, and has to be what it is called."""
    name = path.resolve().name
    try:
        found = announced_hash(path, name) if is_announced_hash(name) else None
        sha256 = found if found is not None and len(found) == 64 else file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    if found not in (None, name):
        raise WeightsError(f"{path} is not the file the Hub announced: its hash differs. Fetch it again.")
    return sha256
