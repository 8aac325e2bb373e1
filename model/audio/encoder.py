"""The audio encoder: Whisper-tiny's encoder, of which HighSync uses the states between the blocks."""

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from model.audio.log_mel import MEL_BINS
from model.errors import WeightsError

FEATURE_WIDTH = 384
NUM_STATES = 5
"""The state after the positional table and after each of the 4 blocks."""

OPENAI_DIMS = {"n_mels": MEL_BINS, "n_audio_ctx": 1500, "n_audio_state": 384, "n_audio_head": 6, "n_audio_layer": 4}
"""What `dims` of an OpenAI checkpoint has to say for it to be a Whisper-tiny."""

OPENAI_NAMES = (
    (r"^positional_embedding$", "embed_positions.weight"),
    (r"^blocks\.", "layers."),
    (r"\.attn\.query\.", ".self_attn.q_proj."),
    (r"\.attn\.key\.", ".self_attn.k_proj."),
    (r"\.attn\.value\.", ".self_attn.v_proj."),
    (r"\.attn\.out\.", ".self_attn.out_proj."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"^ln_post\.", "layer_norm."),
)
"""How OpenAI's names of the encoder's tensors read in transformers, applied in this order."""


class AudioEncoder(nn.Module):
    """Whisper-tiny's encoder without its final norm: log-mel in, the states of all blocks out."""

    def __init__(self) -> None:
        super().__init__()
        self.whisper = WhisperEncoder(
            WhisperConfig(
                num_mel_bins=MEL_BINS,
                d_model=FEATURE_WIDTH,
                encoder_layers=NUM_STATES - 1,
                encoder_attention_heads=6,
                encoder_ffn_dim=4 * FEATURE_WIDTH,
            )
        )
        self.whisper.register_module("layer_norm", nn.Identity())  # the published features come before the final norm
        self.eval().requires_grad_(False)

    @classmethod
    def from_published(cls, path: Path) -> Self:
        """Load `whisper_tiny.pt`, an OpenAI checkpoint. Raises WeightsError."""
        checkpoint = _read_pickle(path)
        dims, state = checkpoint.get("dims"), checkpoint.get("model_state_dict")
        if not isinstance(dims, Mapping) or not isinstance(state, Mapping):
            raise WeightsError(f"{path.name} is not an OpenAI Whisper checkpoint.")
        if any(dims.get(name) != number for name, number in OPENAI_DIMS.items()):
            raise WeightsError(f"{path.name} is not a Whisper-tiny: its dimensions are {dict(dims)}.")
        return cls.from_openai_state(state)

    @classmethod
    def from_openai_state(cls, state: Mapping[str, Tensor]) -> Self:
        """Load tensors named as OpenAI names them (`encoder.blocks.0.attn.query.weight`). Raises WeightsError."""
        return cls._from_encoder_state({openai_to_transformers(key): state[key] for key in _within("encoder.", state)})

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Load a Hugging Face folder of Whisper-tiny, model.safetensors or pytorch_model.bin. Raises WeightsError."""
        safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
        state = _read_safetensors(safe) if safe.exists() else _read_pickle(pickled)
        prefix = "model.encoder." if any(key.startswith("model.encoder.") for key in state) else "encoder."
        return cls._from_encoder_state({key.removeprefix(prefix): state[key] for key in _within(prefix, state)})

    @classmethod
    def untrained(cls, seed: int) -> Self:
        """An encoder with random weights, the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls()

    @classmethod
    def _from_encoder_state(cls, state: Mapping[str, Tensor]) -> Self:
        encoder = cls()
        used = {key: tensor for key, tensor in state.items() if not key.startswith("layer_norm.")}
        try:
            encoder.whisper.load_state_dict(used, strict=True)
        except RuntimeError as error:
            raise WeightsError(f"The weights do not fit Whisper-tiny's encoder: {error}") from error
        return encoder

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number format the encoder computes in."""
        return next(self.parameters()).dtype

    def forward(self, log_mel: Tensor) -> Tensor:
        """
        log_mel : (N, 80, 3000)
        returns : (N, 1500, 5, 384)  50 rows per second; the states after the positional table and after each block
        """
        states = self.whisper(log_mel, output_hidden_states=True).hidden_states
        return torch.stack(states, dim=2)


def openai_to_transformers(key: str) -> str:
    """The name transformers gives to a tensor of the encoder that OpenAI calls `key`."""
    name = key.removeprefix("encoder.")
    for pattern, replacement in OPENAI_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _within(prefix: str, state: Mapping[str, Tensor]) -> list[str]:
    """The keys that belong to the encoder. The decoder's are left out by name."""
    return [key for key in state if key.startswith(prefix)]


def _read_pickle(path: Path) -> dict[str, Any]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError) as error:
        raise WeightsError(f"{path.name} of the audio encoder cannot be read: {error}") from error
    if not isinstance(checkpoint, dict):
        raise WeightsError(f"{path.name} of the audio encoder is not a checkpoint.")
    return checkpoint


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path.name} of the audio encoder cannot be read: {error}") from error
