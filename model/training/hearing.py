"""What the model hears at each frame of a training clip."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.audio.encoder import AudioEncoder, AudioEncoderConfig
from model.checkpoint import load_audio_encoder
from model.stages.encode_audio import encode_audio
from model.training.shards import FPS


@cache
def encoder_of(source: Path | AudioEncoderConfig) -> AudioEncoder:
    """The encoder of `whisper_tiny.pt`, of a Hugging Face folder, or of `audio_encoder.safetensors` in our own layout;
    or the untrained one of a size. Raises WeightsError."""
    if isinstance(source, AudioEncoderConfig):
        return AudioEncoder.untrained(0, source)
    if source.suffix == ".safetensors":
        return load_audio_encoder(source)
    return AudioEncoder.from_folder(source) if source.is_dir() else AudioEncoder.from_published(source)


def fingerprint(encoder: AudioEncoder) -> str:
    """The sha256 of its tensors: sets that heard with different encoders do not mix."""
    digest = hashlib.sha256()
    for tensor in encoder.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def heard(audio: NDArray[np.int16], frames: int, encoder: AudioEncoder) -> NDArray[np.float16]:
    """The features (F, N, D) of frames that follow each other 25 a second, of a voice (n,) mono at 16 kHz."""
    features = encode_audio(encoder, audio.astype(np.float32) / 32768.0)
    return features.at([frame / FPS for frame in range(frames)]).to(torch.float16).cpu().numpy()
