"""Strips of pictures that show what a run has learned."""

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from model.faces.detector import Image
from model.schedule import seeded_generator
from model.stages.denoise import denoise
from model.stages.plan_windows import plan_windows
from model.training.config import RunConfig
from model.training.shards import ShardReader, Split
from model.weights import HighSyncModel
from model.windows import WINDOW_FRAMES

THUMBNAIL_PX = 128


def draw_strips(model: HighSyncModel, reader: ShardReader, run: RunConfig) -> Iterator[Image]:
    """One picture for each of the first held-out clips, as many as the run's settings say.

    Three rows of 12 frames, (384, 1536, 3) uint8 RGB: the clip, what the model makes of it with its own sound, and what
    with the sound of the clip after it. Every time with the same noise.
    """
    shards = reader.places(Split.HELDOUT, WINDOW_FRAMES)
    places = [place for shard in shards for place in shard][: run.sample_clips]
    shown = range(WINDOW_FRAMES)
    sounds = [torch.from_numpy(reader.audio_features(place, shown)).float() for place in places]
    for number, place in enumerate(places):
        frames = reader.frames(place, shown)
        rows = [frames]
        for sound in (sounds[number], sounds[(number + 1) % len(sounds)]):
            dubbed = denoise(
                model,
                torch.from_numpy(frames),
                sound,
                windows=plan_windows(WINDOW_FRAMES, run.sample_steps),
                guidance_scale=run.sample_guidance,
                generator=seeded_generator(run.seed),
                on_step=lambda done, total: None,
            )
            rows.append(dubbed.numpy())
        yield np.concatenate([_row(row) for row in rows])


def _row(frames: Image) -> Image:
    """(F, S, S, 3) side by side, each at the size of a thumbnail."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return np.concatenate([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames], axis=1)
