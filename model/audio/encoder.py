"""The audio encoder: Whisper's encoder, of which HighSync uses the states between the blocks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from model.audio.log_mel import MEL_BINS
from model.errors import WeightsError
from model.weight_files import check_fit, named_tensors, read_json, read_pickle, read_tensors


@dataclass(frozen=True, slots=True)
class AudioEncoderConfig:
    """Size of an encoder built like Whisper's; the defaults are those of Whisper-tiny, the published model's.

    width  : of a state
    blocks : attention blocks behind the two convolutions
    heads  : of each block. The tensors' shapes do not show it, so a checkpoint has to say it
    """

    width: int = 384
    blocks: int = 4
    heads: int = 6

    @property
    def num_states(self) -> int:
        """The state after the positional table and after each block."""
        return self.blocks + 1


WHISPER_TINY = AudioEncoderConfig()

OPENAI_DIMS = {
    "n_mels": MEL_BINS,
    "n_audio_ctx": 1500,
    "n_audio_state": WHISPER_TINY.width,
    "n_audio_head": WHISPER_TINY.heads,
    "n_audio_layer": WHISPER_TINY.blocks,
}
"""What `dims` of an OpenAI checkpoint has to say for it to be a Whisper-tiny."""

HUGGING_FACE_NUMBERS = {
    "num_mel_bins": MEL_BINS,
    "max_source_positions": 1500,
    "d_model": WHISPER_TINY.width,
    "encoder_attention_heads": WHISPER_TINY.heads,
    "encoder_layers": WHISPER_TINY.blocks,
}
"""What `config.json` of a Hugging Face folder has to say for it to be a Whisper-tiny."""

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


_JSON_OBJECT = TypeAdapter(dict[str, object])


class AudioEncoder(nn.Module):
    """Whisper's encoder without its final norm: log-mel in, the states of all blocks out."""

    def __init__(self, config: AudioEncoderConfig = WHISPER_TINY) -> None:
        super().__init__()
        self.config = config
        self.whisper = WhisperEncoder(
            WhisperConfig(
                num_mel_bins=MEL_BINS,
                d_model=config.width,
                encoder_layers=config.blocks,
                encoder_attention_heads=config.heads,
                encoder_ffn_dim=4 * config.width,
            )
        )
        self.whisper.register_module("layer_norm", nn.Identity())  # the published features come before the final norm
        self.eval().requires_grad_(False)

    @classmethod
    def from_published(cls, path: Path) -> Self:
        """Load `whisper_tiny.pt`, an OpenAI checkpoint. Raises WeightsError."""
        checkpoint = read_pickle(path)
        if not isinstance(checkpoint, Mapping) or not {"dims", "model_state_dict"} <= checkpoint.keys():
            raise WeightsError(f"{path} is not an OpenAI Whisper checkpoint.")
        _check_numbers(checkpoint["dims"], OPENAI_DIMS, path)
        return cls.from_openai_state(named_tensors(checkpoint["model_state_dict"], path), source=path)

    @classmethod
    def from_openai_state(cls, state: Mapping[str, Tensor], source: Path | str = "This state") -> Self:
        """Load tensors named as OpenAI names them (`encoder.blocks.0.attn.query.weight`). Raises WeightsError."""
        used = {openai_to_transformers(key): tensor for key, tensor in _within("encoder.", state).items()}
        return cls._from_encoder_state(used, source)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Load a Hugging Face folder of Whisper-tiny: `config.json` and `model.safetensors` or `pytorch_model.bin`.

        Raises WeightsError.
        """
        config = folder / "config.json"
        _check_numbers(read_json(config, _JSON_OBJECT), HUGGING_FACE_NUMBERS, config)
        safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
        path = safe if safe.exists() else pickled
        state = read_tensors(path)
        return cls._from_encoder_state(_within("model.encoder.", state) or _within("encoder.", state), path)

    @classmethod
    def untrained(cls, seed: int, config: AudioEncoderConfig = WHISPER_TINY) -> Self:
        """An encoder with random weights, the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config)

    @classmethod
    def _from_encoder_state(cls, state: Mapping[str, Tensor], source: Path | str) -> Self:
        with torch.device("meta"):
            encoder = cls()
        used = {key: tensor for key, tensor in state.items() if not key.startswith("layer_norm.")}
        check_fit(encoder.whisper.state_dict(), used, source)
        encoder.whisper.load_state_dict({key: used[key].to(torch.float32, copy=True) for key in used}, assign=True)
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
        returns : (N, 1500, S, D)  50 rows per second; the states after the positional table and after each block,
                  5 of 384 for Whisper-tiny
        """
        states = self.whisper(log_mel, output_hidden_states=True).hidden_states
        return torch.stack(states, dim=2)


def openai_to_transformers(key: str) -> str:
    """The name transformers gives to a tensor of the encoder that OpenAI calls `key`."""
    name = key.removeprefix("encoder.")
    for pattern, replacement in OPENAI_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _within(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors below a prefix, by the rest of their names. The decoder's are left out this way."""
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def _check_numbers(found: object, needed: Mapping[str, int], path: Path) -> None:
    """Raise WeightsError unless `found`, read from `path`, holds these numbers by these names."""
    numbers = {name: found.get(name) for name in needed} if isinstance(found, Mapping) else {}
    if not all(isinstance(number, int) for number in numbers.values()) or numbers != needed:
        raise WeightsError(f"{path} is not a Whisper-tiny: its dimensions are {numbers}, not {dict(needed)}.")
