"""The dataset on disk: a folder of shards, each holding whole clips (docs/training.md).

    dataset.json                what the set holds: sizes, the maker's settings, every shard with its clips
    audio_encoder.safetensors   the encoder the audio features were made with
    shard-00000.safetensors     clips of one split; any frames of any clip can be read without reading the rest

A shard is complete or not there, and one that `dataset.json` does not name does not count: a maker that was killed goes
on with the clips that are not in `ShardWriter.clip_ids`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from pydantic import JsonValue, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from model.audio.encoder import AudioEncoder
from model.audio.log_mel import SAMPLE_RATE_HZ
from model.checkpoint import save_audio_encoder
from model.training.errors import DatasetError

DATASET_FILE = "dataset.json"
AUDIO_ENCODER_FILE = "audio_encoder.safetensors"
FORMAT = 1
FPS = 25

SHARD_CLIPS = 16
"""Clips in a shard: some hundred MB at 256 px, few enough that a shuffle over several shards mixes well."""

MAX_AUDIO_DRIFT_SECONDS = 0.1
"""How far the sound of a clip may be shorter or longer than its frames."""

FRAMES, AUDIO_FEATURES, AUDIO = "frames", "audio_features", "audio"
PHONEMES = "phonemes"
"""The one entry of a shard's metadata, clip by clip: safetensors writes several in any order, and a shard that is made
again is to have the same bytes."""

RESERVED = (FRAMES, AUDIO_FEATURES, AUDIO)

Array = np.ndarray


class Split(StrEnum):
    """What a clip may be used for. Held-out clips share no speaker, voice or sentence with those to train on."""

    TRAIN = "train"
    HELDOUT = "heldout"


@dataclass(frozen=True, slots=True)
class Phoneme:
    """One sound of the speech, from the clip's start."""

    label: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class ClipLabels:
    """What a clip is, without its pictures and sound. clip_id is unique in the dataset; frames counts them."""

    clip_id: str
    speaker: str
    voice: str
    sentence: str
    frames: int


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A talking head of F frames, 25 a second, cropped to the geometry of the model.

    frames         : (F, S, S, 3) uint8 RGB; the mouth rectangle is that of model.networks.mouth_mask
    audio_features : (F, N, D) float16, what the model hears at each frame
    audio          : (n,) int16, mono, 16 kHz
    ground_truth   : (F,) float32 by name; synthetic clips have at least `aperture` and `width`, real ones nothing
    phonemes       : in order of time; empty where nobody knows them
    """

    labels: ClipLabels
    split: Split
    frames: Array
    audio_features: Array
    audio: Array
    ground_truth: Mapping[str, Array] = field(default_factory=dict)
    phonemes: tuple[Phoneme, ...] = ()


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard: its file's name, its split, its clips in their order within the file."""

    file: str
    split: Split
    clips: tuple[ClipLabels, ...]


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """`dataset.json`.

    crop_size   : side S of a frame in px
    audio_shape : (N, D), audio tokens per frame and their width
    maker       : the settings the set was made with, for the record and to refuse going on with others
    """

    crop_size: int
    audio_shape: tuple[int, int]
    maker: dict[str, JsonValue]
    shards: tuple[ShardInfo, ...] = ()
    fps: int = FPS
    format: int = FORMAT

    def clip_ids(self) -> set[str]:
        """The ids of all clips."""
        return {labels.clip_id for shard in self.shards for labels in shard.clips}


_INFO = TypeAdapter(DatasetInfo)
_PHONEMES = TypeAdapter(tuple[tuple[Phoneme, ...], ...])


class ShardWriter:
    """Writes a dataset, or goes on with one. A context manager: leaving it without an exception writes what is left."""

    def __init__(
        self,
        folder: Path,
        *,
        crop_size: int,
        audio_shape: tuple[int, int],
        maker: Mapping[str, JsonValue],
        audio_encoder: AudioEncoder,
        shard_clips: int = SHARD_CLIPS,
    ) -> None:
        """audio_encoder: the one the features come from.

        Raises DatasetError when the folder holds a dataset made with other settings.
        """
        self._folder, self._shard_clips = folder, shard_clips
        self._info = DatasetInfo(crop_size=crop_size, audio_shape=audio_shape, maker=dict(maker))
        self._waiting: dict[Split, list[Clip]] = {split: [] for split in Split}
        if (folder / DATASET_FILE).exists():
            found = read_info(folder)
            if replace(found, shards=()) != self._info:
                raise DatasetError(f"{folder} holds a dataset made with other settings: {found.maker}.")
            self._info = found
        else:
            folder.mkdir(parents=True, exist_ok=True)
            save_audio_encoder(audio_encoder, folder / AUDIO_ENCODER_FILE)
            self._write_info()

    @property
    def clip_ids(self) -> set[str]:
        """The clips that are on disk for good."""
        return self._info.clip_ids()

    def add(self, clip: Clip) -> None:
        """Take a clip. Raises ValueError when it does not fit the dataset."""
        waiting = {other.labels.clip_id for clips in self._waiting.values() for other in clips}
        if clip.labels.clip_id in self.clip_ids | waiting:
            raise ValueError(f"There are two clips {clip.labels.clip_id}.")
        check_clip(clip, self._info)
        clips = self._waiting[clip.split]
        clips.append(clip)
        if len(clips) == self._shard_clips:
            self._write_shard(clip.split)

    def close(self) -> None:
        """Write the clips that did not fill a shard."""
        for split, clips in self._waiting.items():
            if clips:
                self._write_shard(split)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()

    def _write_shard(self, split: Split) -> None:
        clips, self._waiting[split] = self._waiting[split], []
        shard = ShardInfo(f"shard-{len(self._info.shards):05d}.safetensors", split, tuple(c.labels for c in clips))
        tensors: dict[str, Array] = {}
        for place, clip in enumerate(clips):
            arrays = {FRAMES: clip.frames, AUDIO_FEATURES: clip.audio_features, AUDIO: clip.audio, **clip.ground_truth}
            tensors |= {_key(place, name): np.ascontiguousarray(array) for name, array in arrays.items()}
        phonemes = {PHONEMES: json.dumps([[asdict(p) for p in clip.phonemes] for clip in clips])}
        path = self._folder / shard.file
        save_file(tensors, path.with_suffix(".new"), phonemes)
        path.with_suffix(".new").replace(path)
        self._info = replace(self._info, shards=(*self._info.shards, shard))
        self._write_info()

    def _write_info(self) -> None:
        path = self._folder / DATASET_FILE
        path.with_suffix(".new").write_bytes(_INFO.dump_json(self._info, indent=1))
        path.with_suffix(".new").replace(path)


@dataclass(frozen=True, slots=True)
class ClipPlace:
    """Where a clip lies: the number of its shard and its place within."""

    shard: int
    place: int


class ShardReader:
    """Reads a dataset. May be handed to other processes; each opens the files it needs by itself."""

    def __init__(self, folder: Path) -> None:
        """Raises DatasetError."""
        self.folder = folder
        self.info = read_info(folder)
        self._open: dict[int, Any] = {}  # safetensors leaves its files untyped

    def __getstate__(self) -> Path:
        return self.folder

    def __setstate__(self, folder: Path) -> None:
        self.__init__(folder)  # type: ignore[misc]  # the state is what the constructor takes

    def places(self, split: Split, min_frames: int = 1) -> list[list[ClipPlace]]:
        """The clips of a split with enough frames, shard by shard; shards without one are left out."""
        by_shard = (
            [ClipPlace(number, place) for place, clip in enumerate(shard.clips) if clip.frames >= min_frames]
            for number, shard in enumerate(self.info.shards)
            if shard.split is split
        )
        return [places for places in by_shard if places]

    def labels(self, place: ClipPlace) -> ClipLabels:
        """What the clip is."""
        return self.info.shards[place.shard].clips[place.place]

    def frames(self, place: ClipPlace, indices: Sequence[int]) -> Array:
        """Some frames of a clip, (len(indices), S, S, 3) uint8 RGB. Consecutive ones are read at once."""
        return self._rows(place, FRAMES, indices)

    def audio_features(self, place: ClipPlace, indices: Sequence[int]) -> Array:
        """The audio features (len(indices), N, D) float16 at some frames of a clip."""
        return self._rows(place, AUDIO_FEATURES, indices)

    def clip(self, place: ClipPlace) -> Clip:
        """The whole clip."""
        shard, file = self.info.shards[place.shard], self._file(place.shard)
        prefix = _key(place.place, "")
        keys = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118  # the file is no mapping
        arrays = {key.removeprefix(prefix): file.get_tensor(key) for key in keys}
        frames, audio_features, audio = (arrays.pop(name) for name in RESERVED)
        phonemes = _PHONEMES.validate_json(file.metadata()[PHONEMES])
        return Clip(self.labels(place), shard.split, frames, audio_features, audio, arrays, phonemes[place.place])

    def _rows(self, place: ClipPlace, name: str, indices: Sequence[int]) -> Array:
        tensor = self._file(place.shard).get_slice(_key(place.place, name))
        if list(indices) == list(range(indices[0], indices[0] + len(indices))):
            run: Array = tensor[indices[0] : indices[-1] + 1]
            return run
        return np.concatenate([tensor[index : index + 1] for index in indices])

    def _file(self, shard: int) -> Any:
        if shard not in self._open:
            path = self.folder / self.info.shards[shard].file
            try:
                self._open[shard] = safe_open(path, framework="numpy")
            except (OSError, SafetensorError) as error:
                raise DatasetError(f"{path} cannot be read: {error}") from error
        return self._open[shard]


def read_info(folder: Path) -> DatasetInfo:
    """Read `dataset.json`. Raises DatasetError."""
    try:
        info = _INFO.validate_json((folder / DATASET_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise DatasetError(f"{folder} holds no dataset: {error}") from error
    if info.format != FORMAT:
        raise DatasetError(f"{folder} holds a dataset of format {info.format}; this program reads {FORMAT}.")
    return info


def check_clip(clip: Clip, info: DatasetInfo) -> None:
    """Raise ValueError unless the clip is whole and of the sizes of the dataset."""
    frames, name = clip.labels.frames, clip.labels.clip_id
    arrays: dict[str, tuple[Array, tuple[int, ...], str]] = {
        FRAMES: (clip.frames, (frames, info.crop_size, info.crop_size, 3), "uint8"),
        AUDIO_FEATURES: (clip.audio_features, (frames, *info.audio_shape), "float16"),
        AUDIO: (clip.audio, (clip.audio.size,), "int16"),
    }
    if taken := arrays.keys() & clip.ground_truth.keys():
        raise ValueError(f"Clip {name}: ground truth cannot be called {', '.join(sorted(taken))}.")
    arrays |= {key: (array, (frames,), "float32") for key, array in clip.ground_truth.items()}
    for key, (array, shape, dtype) in arrays.items():
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"Clip {name}: {key} is {array.shape} {array.dtype}, not {shape} {dtype}.")
    if abs(clip.audio.size / SAMPLE_RATE_HZ - frames / info.fps) > MAX_AUDIO_DRIFT_SECONDS:
        raise ValueError(f"Clip {name}: {clip.audio.size} samples are not as long as {frames} frames.")


def _key(place: int, name: str) -> str:
    """The name of one array of one clip within a shard."""
    return f"{place:04d}.{name}"
