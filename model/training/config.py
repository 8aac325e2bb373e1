"""The settings of a training run: one frozen dataclass per command, read strictly from TOML (docs/training.md)."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from model.checkpoint import VaeConfig
from model.networks.config import UNetConfig
from model.training.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]
Betas = Literal["scaled_linear", "linear"]
Context = Literal["scaled", "clean"]
Draw = Literal["sample", "mean"]
LearningRateSchedule = Literal["constant", "cosine"]

ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What every run needs to know.

    batch_size             : samples per optimizer step, over all processes and all accumulated parts
    accumulation           : parts a process computes one after the other to save memory
    precision              : of the arithmetic; weights, optimizer and EMA are always float32
    gradient_checkpointing : compute activations twice to save memory
    workers                : processes that read data, for each process that trains
    sample_steps           : sampling steps of the strips; sample_clips of them, of held-out clips, every sample_every
    kept_states            : states to resume from that stay on disk
    """

    dataset: Path
    output: Path
    steps: int
    batch_size: int
    accumulation: int = 1
    seed: int = 0
    precision: Precision = "fp32"
    gradient_checkpointing: bool = False
    ema_decay: float = 0.999
    workers: int = 2
    log_every: int = 10
    save_every: int = 1000
    kept_states: int = 2
    sample_every: int = 1000
    sample_clips: int = 2
    sample_steps: int = 20
    sample_guidance: float = 3.5

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "accumulation", "log_every", "save_every", "kept_states", "sample_every")
        for name in (*counts, "sample_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} has to be 1 or more.")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError("ema_decay has to lie in [0, 1).")


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """AdamW. The rate rises linearly over warmup_steps, then stays, or falls as half a cosine until the last step."""

    learning_rate: float
    schedule: LearningRateSchedule = "constant"
    warmup_steps: int = 100
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    epsilon: float = 1e-8
    max_gradient_norm: float = 1.0


@dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """What the denoiser is taught. The defaults are the published training's.

    noise_offset      : share of noise that is the same for all cells and frames of a channel
    reference_dropout : share of steps without a reference
    snr_gamma         : limit of the min-SNR weights
    betas             : noise schedule; the sampler's is `linear`
    context           : what the network sees outside the mouth: the clean latents scaled as those inside, or, as in
                        the sampler, `clean`
    latents           : drawn from the VAE's posterior, or, as in the sampler, its `mean`
    pixel_weight      : weight of the loss after decoding, 0 = without
    """

    noise_offset: float = 0.05
    reference_dropout: float = 0.1
    snr_gamma: float = 5.0
    betas: Betas = "scaled_linear"
    context: Context = "scaled"
    latents: Draw = "sample"
    pixel_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class StartConfig:
    """Where the networks come from: exactly one of the first three.

    weights          : a folder of weights in our own or in the published layout: all networks
    stable_diffusion : a diffusers folder of Stable Diffusion 1.5, with `unet/` and `vae/`
    unet             : sizes of UNets that start from nothing; they need a `vae`
    vae              : a diffusers folder of a VAE instead of the one that comes with the others
    """

    weights: Path | None = None
    stable_diffusion: Path | None = None
    unet: UNetConfig | None = None
    vae: Path | None = None

    def __post_init__(self) -> None:
        if sum(source is not None for source in (self.weights, self.stable_diffusion, self.unet)) != 1:
            raise ValueError("Start from one of weights, stable_diffusion and unet.")
        if self.unet is not None and self.vae is None:
            raise ValueError("UNets that start from nothing need a vae.")


@dataclass(frozen=True, slots=True)
class Stage1Config:
    """Single frames: the reference UNet and the denoising UNet learn, without motion modules."""

    run: RunConfig
    start: StartConfig
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-5)
    objective: ObjectiveConfig = ObjectiveConfig()


@dataclass(frozen=True, slots=True)
class Stage2Config:
    """Clips of 12 frames: motion modules and audio attention learn, everything else stays as it is."""

    run: RunConfig
    start: StartConfig
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=5e-6)
    objective: ObjectiveConfig = ObjectiveConfig()


@dataclass(frozen=True, slots=True)
class VaeObjectiveConfig:
    """What the VAE is taught: mean absolute error of pixels and of their differences to right and lower neighbours.

    edge_weight  : weight of the differences
    mouth_weight : how much more than the rest the mouth rectangle counts
    kl_weight    : weight of the posterior's divergence from a standard normal
    """

    edge_weight: float = 1.0
    mouth_weight: float = 1.0
    kl_weight: float = 1e-6


@dataclass(frozen=True, slots=True)
class VaeTrainingConfig:
    """The VAE from nothing, on single frames. The `scaling_factor` in `vae` is replaced by what the latents need."""

    run: RunConfig
    vae: VaeConfig
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-4)
    objective: VaeObjectiveConfig = VaeObjectiveConfig()


def read_config(path: Path, kind: type[ConfigT]) -> ConfigT:
    """Read settings of this kind. Raises ConfigError, which names the setting."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if unknown := sorted(unknown_settings(content, kind)):
        raise ConfigError(f"{path}: there is no setting {', '.join(unknown)}.")
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {problems}") from error


def unknown_settings(content: Mapping[str, Any], kind: type[Any], prefix: str = "") -> Iterator[str]:
    """The dotted names in `content` that a dataclass and those within it have no field for."""
    known, types = {each.name for each in fields(kind)}, get_type_hints(kind)
    for name, value in content.items():
        if name not in known:
            yield prefix + name
        elif isinstance(value, Mapping):
            inner = [each for each in (types[name], *get_args(types[name])) if is_dataclass(each)]
            for each in inner:
                yield from unknown_settings(value, each, f"{prefix}{name}.")  # type: ignore[arg-type]
