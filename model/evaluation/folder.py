"""Reads a folder of results: `evaluation.json` names the videos and what is true of them (docs/evidence.md)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from model.evaluation.errors import EvaluationError
from model.evaluation.pictures import whole_pictures
from model.evaluation.scores import Dub
from model.media.reader import VideoReader

MANIFEST = "evaluation.json"

Seconds = FiniteFloat


class _Strict(BaseModel):
    """A misspelt name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Strict):
    """One result. Paths are relative to the folder. silences: (start, stop) seconds in which nothing is said."""

    name: str
    result: Path
    source: Path | None = None
    reference: Path | None = None
    truth: Path | None = None
    silences: tuple[tuple[Seconds, Seconds], ...] = ()


class Manifest(_Strict):
    """`evaluation.json`. system: whose results these are."""

    format: Literal[1]
    system: str
    clips: tuple[Entry, ...]


class Truth(_Strict):
    """What is known about a clip of F frames; every list has F entries. See `scores.Dub` for units.

    Without boxes the pictures are crops of the model.
    """

    asked: tuple[FiniteFloat, ...] | None = None
    original: tuple[FiniteFloat, ...] | None = None
    mouth: tuple[tuple[FiniteFloat, FiniteFloat, FiniteFloat], ...] | None = None
    boxes: tuple[tuple[int, int, int, int], ...] | None = None


ModelT = TypeVar("ModelT", bound=BaseModel)


def read_manifest(folder: Path) -> Manifest:
    """What the folder holds. Raises EvaluationError."""
    manifest = _read_json(folder / MANIFEST, Manifest)
    names = [clip.name for clip in manifest.clips]
    if not names:
        raise EvaluationError(f"{folder / MANIFEST} names no clip.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise EvaluationError(f"{folder / MANIFEST} has more than one clip {twice[0]}.")
    return manifest


def read_dubs(folder: Path, manifest: Manifest) -> Iterator[Dub]:
    """The clips, one at a time; all pictures of one, dubbed and filmed, are in memory at once.

    Raises EvaluationError, and the MediaErrors of the videos.
    """
    for entry in manifest.clips:
        yield _read_dub(folder, entry)


def _read_dub(folder: Path, entry: Entry) -> Dub:
    truth = Truth() if entry.truth is None else _read_json(folder / entry.truth, Truth)
    frames, times = _read_video(folder / entry.result)
    others = {
        what: None if path is None else _read_video(folder / path)[0]
        for what, path in (("source", entry.source), ("reference", entry.reference))
    }
    for what, other in others.items():
        if other is not None and other.shape != frames.shape:
            raise EvaluationError(f"Clip {entry.name}: result {_size(frames)} and {what} {_size(other)} differ.")
    for what in ("asked", "original", "mouth", "boxes"):
        values = getattr(truth, what)
        if values is not None and len(values) != len(frames):
            raise EvaluationError(f"Clip {entry.name}: {len(frames)} frames, but {len(values)} of `{what}`.")
    return Dub(
        name=entry.name,
        frames=frames,
        times_seconds=times,
        boxes=whole_pictures(frames) if truth.boxes is None else np.array(truth.boxes, np.int64),
        source=others["source"],
        reference=others["reference"],
        mouth=None if truth.mouth is None else np.array(truth.mouth),
        asked=None if truth.asked is None else np.array(truth.asked),
        original=None if truth.original is None else np.array(truth.original),
        silences=entry.silences,
    )


def _read_json(path: Path, kind: type[ModelT]) -> ModelT:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise EvaluationError(f"{path}: {problems}") from error


def _read_video(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """All pictures (F, H, W, 3) RGB and their times (F,), seconds."""
    if not path.is_file():
        raise EvaluationError(f"There is no video {path}.")
    shown = [(frame.to_rgb(), frame.time_seconds) for frame in VideoReader(path).frames()]
    return np.stack([picture for picture, _ in shown]), np.array([time for _, time in shown])


def _size(frames: NDArray[np.uint8]) -> str:
    count, height, width = frames.shape[:3]
    return f"({count} frames, {width}x{height} px)"
