"""Makes a dataset of synthetic talking heads: clips side by side in several processes, shards in one order."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from model.audio.encoder import FEATURE_WIDTH, AudioEncoder
from model.audio.features import TOKENS_PER_FRAME
from model.stages.encode_audio import encode_audio
from model.training.shards import FPS, Clip, ClipLabels, ShardWriter, Split
from model.training.synthetic.clips import ClipOptions, SyntheticClip, make_clip
from model.training.synthetic.speech import Samples

RECIPE = 1
"""Counts the changes after which the same seed makes other clips."""

_CLIPS_AHEAD = 2
"""Clips per process that may wait to be written: 20 MB each at 256 px."""

OnClip = Callable[[int, int], None]
"""Told, whenever a clip is done, how many are and how many there will be."""


@dataclass(frozen=True, slots=True)
class SynthesisConfig:
    """What to make. The first `clips` are for training; held-out ones share no face, voice or sentence with them.

    audio_encoder: `whisper_tiny.pt`, or a Hugging Face folder of it; None: an untrained one.
    """

    clips: int
    heldout_clips: int
    seed: int = 0
    clip: ClipOptions = field(default_factory=ClipOptions)
    audio_encoder: Path | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """One clip to make."""

    split: Split
    index: int

    @property
    def clip_id(self) -> str:
        return f"{self.split}-{self.index:06d}"


def synthesize(folder: Path, config: SynthesisConfig, *, processes: int, on_clip: OnClip) -> None:
    """Make what the folder still lacks. The same configuration gives the same bytes, whatever the number of processes
    and however often it was interrupted; more clips can be added later.

    Raises DatasetError when the folder holds another set, SpeechSynthesizerMissing, WeightsError.
    """
    encoder = load_encoder(config.audio_encoder)
    writer = ShardWriter(
        folder,
        crop_size=config.clip.size,
        audio_shape=(TOKENS_PER_FRAME, FEATURE_WIDTH),
        maker=_maker(config, encoder),
        audio_encoder=encoder,
    )
    orders = [_Order(Split.TRAIN, index) for index in range(config.clips)]
    orders += [_Order(Split.HELDOUT, index) for index in range(config.heldout_clips)]
    missing = [order for order in orders if order.clip_id not in writer.clip_ids]
    with writer:
        for done, clip in enumerate(_made(missing, config, processes), start=1 + len(orders) - len(missing)):
            writer.add(clip)
            on_clip(done, len(orders))


def _maker(config: SynthesisConfig, encoder: AudioEncoder) -> dict[str, JsonValue]:
    """What has to be the same when a set is gone on with."""
    clip: dict[str, JsonValue] = asdict(config.clip)
    return {"recipe": RECIPE, "seed": config.seed, "audio_encoder": _fingerprint(encoder), **clip}


def _fingerprint(encoder: AudioEncoder) -> str:
    digest = hashlib.sha256()
    for tensor in encoder.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _made(orders: Iterable[_Order], config: SynthesisConfig, processes: int) -> Iterator[Clip]:
    """The clips in the order they were asked for, few of them held at a time."""
    server = get_context("forkserver")  # its children have none of torch's threads, and import once
    server.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(processes, server, initializer=_settle) as pool:
        waiting: deque[Future[Clip]] = deque()
        for order in orders:
            waiting.append(pool.submit(_make, order, config))
            if len(waiting) >= _CLIPS_AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _settle() -> None:
    """One thread for each process: they are as many as the machine has cores."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _make(order: _Order, config: SynthesisConfig) -> Clip:
    made = make_clip(config.seed, order.index, order.split, config.clip)
    return to_clip(made, order.clip_id, load_encoder(config.audio_encoder))


def to_clip(made: SyntheticClip, clip_id: str, encoder: AudioEncoder) -> Clip:
    """A synthetic clip as datasets hold it, with what is heard at each of its frames."""
    x, y, face_height = made.mouth.T
    return Clip(
        labels=ClipLabels(clip_id, made.face, made.voice, made.text, len(made.frames)),
        split=made.split,
        frames=made.frames,
        audio_features=features_of(made.audio, len(made.frames), encoder),
        audio=made.audio,
        ground_truth={
            "aperture": made.aperture,
            "width": made.width,
            "mouth_x": x.copy(),
            "mouth_y": y.copy(),
            "face_height": face_height.copy(),
        },
        phonemes=made.phonemes,
    )


def features_of(audio: Samples, frames: int, encoder: AudioEncoder) -> NDArray[np.float16]:
    """What is heard at each of the frames, 25 per second: (F, 50, 384)."""
    heard = encode_audio(encoder, audio.astype(np.float32) / 32768.0).at([frame / FPS for frame in range(frames)])
    return heard.to(torch.float16).cpu().numpy()


@cache
def load_encoder(source: Path | None) -> AudioEncoder:
    """The audio encoder of a file or a folder; None: the untrained one. Raises WeightsError."""
    if source is None:
        return AudioEncoder.untrained(0)
    return AudioEncoder.from_folder(source) if source.is_dir() else AudioEncoder.from_published(source)
