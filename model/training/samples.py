"""What the networks are shown, and in which order: a function of the seed and a running number alone.

Sample 17 of a run is the same frames with the same noise whichever process reads it, and whether or not the run was
interrupted before. So a run resumes at any step without remembering the state of any generator, and two processes that
share a batch see what one would have seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model.schedule import derived_seed, draw_noise, seeded_generator
from model.training.errors import DatasetError
from model.training.shards import ClipPlace, ShardReader, Split

SHUFFLED_SHARDS = 8
"""Shards whose clips are mixed: reading stays in a few files at a time."""

FAR_FRAMES = 30
"""A single frame is shown with a reference at least this far from it, where the clip is long enough."""

LATENT_PIXELS = 8
"""Side of the square of pixels that one latent cell stands for."""

PREFETCHED_BATCHES = 4
"""Batches each reading process has ready."""


class Stream(IntEnum):
    """Kinds of random numbers, each with a stream of its own."""

    ORDER = 0
    FRAMES = 1
    NOISE = 2
    REFERENCE_DROPOUT = 3


class Batch(NamedTuple):
    """B samples of F frames.

    frames         : (B, F, S, S, 3) uint8 RGB
    reference      : (B, S, S, 3) uint8 RGB, one frame of the same clip for all F
    audio_features : (B, F, N, D) float32
    timesteps      : (B,) int64 in [0, 999]
    noise          : (B, C, F, h, w) float32, standard normal
    offset         : (B, C, 1, 1, 1) float32, standard normal: the part of the noise that all cells share
    posterior      : (B, C, F + 1, h, w) float32, standard normal: where to draw from the VAE's posterior; the
                     reference's is last
    decoded        : (B,) int64, the frame that a loss after decoding looks at
    """

    frames: Tensor
    reference: Tensor
    audio_features: Tensor
    timesteps: Tensor
    noise: Tensor
    offset: Tensor
    posterior: Tensor
    decoded: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


@dataclass(frozen=True, slots=True)
class ClipOrder:
    """Every clip once per epoch: shards in random order, clips mixed over a few shards."""

    shards: tuple[tuple[ClipPlace, ...], ...]
    seed: int

    @property
    def clips(self) -> int:
        """Clips per epoch."""
        return sum(map(len, self.shards))

    def epoch(self, number: int) -> list[ClipPlace]:
        """The clips of an epoch in its order."""
        rng = np.random.default_rng([self.seed, Stream.ORDER, number])
        shards = [self.shards[index] for index in rng.permutation(len(self.shards))]
        order: list[ClipPlace] = []
        for first in range(0, len(shards), SHUFFLED_SHARDS):
            places = [place for shard in shards[first : first + SHUFFLED_SHARDS] for place in shard]
            order += [places[index] for index in rng.permutation(len(places))]
        return order


class TrainingSamples(Dataset[Batch]):
    """The samples of a run by their running number. What it gives has no batch dimension yet."""

    def __init__(self, reader: ShardReader, seed: int, num_frames: int, latent_channels: int) -> None:
        """num_frames: F. Raises DatasetError when no clip is as long."""
        shards = reader.places(Split.TRAIN, num_frames)
        if not shards:
            raise DatasetError(f"{reader.folder} holds no clip of {num_frames} frames or more to train on.")
        self._reader, self._seed, self._num_frames = reader, seed, num_frames
        self._latents = (latent_channels, reader.info.crop_size // LATENT_PIXELS)
        self._order = ClipOrder(tuple(map(tuple, shards)), seed)
        self._epoch: tuple[int, list[ClipPlace]] = (-1, [])

    def clip_ids(self) -> list[str]:
        """The clips the samples come from, in the order of the dataset."""
        return [self._reader.labels(place).clip_id for shard in self._order.shards for place in shard]

    def place(self, index: int) -> ClipPlace:
        """The clip that sample `index` is taken from."""
        epoch, position = divmod(index, self._order.clips)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._order.epoch(epoch))
        return self._epoch[1][position]

    def __getitem__(self, index: int) -> Batch:
        place = self.place(index)
        rng = np.random.default_rng([self._seed, Stream.FRAMES, index])
        shown, reference = choose_frames(rng, self._reader.labels(place).frames, self._num_frames)
        generator = seeded_generator(derived_seed(self._seed, Stream.NOISE, index))
        channels, side = self._latents
        return Batch(
            frames=torch.from_numpy(self._reader.frames(place, shown)),
            reference=torch.from_numpy(self._reader.frames(place, [reference])[0]),
            audio_features=torch.from_numpy(self._reader.audio_features(place, shown)).float(),
            timesteps=torch.randint(1000, (), generator=generator),
            noise=draw_noise(generator, (channels, self._num_frames, side, side)),
            offset=draw_noise(generator, (channels, 1, 1, 1)),
            posterior=draw_noise(generator, (channels, self._num_frames + 1, side, side)),
            decoded=torch.randint(self._num_frames, (), generator=generator),
        )


def choose_frames(rng: np.random.Generator, clip_frames: int, num_frames: int) -> tuple[range, int]:
    """Which frames of a clip are shown, one after the other, and which is their reference.

    A single frame is far from its reference where that is possible; a run of frames may have it among them.
    """
    reference = int(rng.integers(clip_frames))
    starts = np.arange(clip_frames - num_frames + 1)
    far = starts[abs(starts - reference) >= FAR_FRAMES]
    start = int(rng.choice(far if num_frames == 1 and far.size else starts))
    return range(start, start + num_frames), reference


def drops_reference(seed: int, step: int, rate: float) -> bool:
    """Whether a step goes without reference; the same in all processes."""
    return bool(np.random.default_rng([seed, Stream.REFERENCE_DROPOUT, step]).random() < rate)


@dataclass(frozen=True)
class StepBatches:
    """The numbers of the samples one process reads, part by part, from a step on.

    Part k of process r of W takes samples (k W + r) m ... + m of the step's batch, m = batch_size / (W parts).
    """

    batch_size: int
    first_step: int
    steps: int
    parts: int = 1
    processes: int = 1
    rank: int = 0

    @cached_property
    def part_size(self) -> int:
        """Samples of one part, m."""
        return self.batch_size // (self.parts * self.processes)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.steps):
            for part in range(self.parts):
                first = step * self.batch_size + (part * self.processes + self.rank) * self.part_size
                yield list(range(first, first + self.part_size))

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.parts


def load_batches(samples: TrainingSamples, batches: StepBatches, workers: int, *, pinned: bool) -> Iterator[Batch]:
    """Read batches ahead in `workers` processes, or here as they are asked for when there are none."""
    loader: DataLoader[Batch] = DataLoader(
        samples,
        batch_sampler=_as_sampler(batches),
        num_workers=workers,
        prefetch_factor=PREFETCHED_BATCHES if workers else None,
        multiprocessing_context="forkserver" if workers else None,  # a fork of a process with threads may hang
        pin_memory=pinned,
    )
    return iter(loader)


def _as_sampler(batches: StepBatches) -> Sequence[list[int]]:
    """torch asks for an iterable with a length, and types it as a sequence."""
    return batches  # type: ignore[return-value]
