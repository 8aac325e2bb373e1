"""Small clips to train on in tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from model.audio.encoder import AudioEncoder, AudioEncoderConfig
from model.audio.features import tokens_shape
from model.training.shards import Clip, ClipLabels, Phoneme, ShardWriter, Split

CROP_SIZE = 256
AUDIO_ENCODER = AudioEncoderConfig(width=8, blocks=1, heads=1)
AUDIO_SHAPE = tokens_shape(AUDIO_ENCODER)


def make_clip(number: int, frames: int = 16, split: Split = Split.TRAIN) -> Clip:
    """A still, coloured by its number, over which a bar opens as its audio features say."""
    rng = np.random.default_rng(number)
    pictures = np.empty((frames, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    pictures[:] = rng.integers(40, 215, 3, dtype=np.uint8)
    aperture = rng.random(frames, np.float32)
    for picture, opening in zip(pictures, aperture, strict=True):
        picture[176 : 178 + int(40 * opening), 90:166] = 0
    features = rng.standard_normal((frames, *AUDIO_SHAPE)).astype(np.float16)
    features[:, 0, 0] = aperture
    return Clip(
        ClipLabels(f"clip-{number}", f"speaker-{number}", f"voice-{number % 2}", f"sentence-{number}", frames),
        split,
        pictures,
        features,
        rng.integers(-9, 9, frames * 640, dtype=np.int16),
        {"aperture": aperture, "width": np.full(frames, 0.5, np.float32)},
        (Phoneme("m", 0.0, 0.08), Phoneme("a", 0.08, 0.3)),
    )


def open_writer(folder: Path, **maker: int) -> ShardWriter:
    """A writer of small clips, two in a shard."""
    return ShardWriter(
        folder,
        crop_size=CROP_SIZE,
        audio_shape=AUDIO_SHAPE,
        maker=dict(maker),
        audio_encoder=AudioEncoder.untrained(0, AUDIO_ENCODER),
        shard_clips=2,
    )


def make_dataset(folder: Path, clips: int = 6, frames: int = 16) -> Path:
    """A dataset of so many clips to train on and one held out."""
    with open_writer(folder) as writer:
        for number in range(clips):
            writer.add(make_clip(number, frames))
        writer.add(make_clip(clips, frames, Split.HELDOUT))
    return folder


def renamed(clip: Clip, clip_id: str) -> Clip:
    """The same clip by another name."""
    return replace(clip, labels=replace(clip.labels, clip_id=clip_id))
