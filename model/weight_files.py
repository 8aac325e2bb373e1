"""Files of weights, read so that a damaged or foreign one is a clear error.

Nothing in a file is run: pickles are read with `weights_only`.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from model.errors import WeightsError

UNREADABLE = (
    *(OSError, EOFError, UnpicklingError, SafetensorError, zipfile.BadZipFile, struct.error),
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
)
"""What torch and safetensors raise at bytes that are no checkpoint (found by reading damaged ones)."""

ContentT = TypeVar("ContentT")


def read_pickle(path: Path) -> Any:
    """What torch.save wrote: tensors, numbers, strings and collections of them. Raises WeightsError."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UNREADABLE as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a pickled state dict. Raises WeightsError."""
    if path.suffix != ".safetensors":
        return named_tensors(read_pickle(path), path)
    try:
        return load_file(path)
    except UNREADABLE as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error


def read_metadata(path: Path) -> dict[str, str]:
    """What a .safetensors file says of itself. Raises WeightsError."""
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except UNREADABLE as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error


def read_json(path: Path, content: TypeAdapter[ContentT]) -> ContentT:
    """What a JSON file holds, if it has the form of `content`. Raises WeightsError otherwise."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    return parse_json(text, content, path)


def parse_json(text: str | bytes, content: TypeAdapter[ContentT], path: Path) -> ContentT:
    """What this JSON, which came from `path`, holds, if it has the form of `content`. Raises WeightsError otherwise."""
    try:
        return content.validate_json(text)
    except ValidationError as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error


def named_tensors(content: object, path: Path) -> dict[str, Tensor]:
    """`content`, which came from `path`, if it is tensors by name. Raises WeightsError otherwise."""
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} is not a state dict: it holds no named tensors.")
    for key, tensor in content.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"{path} is not a state dict: it holds more than named tensors.")
    return dict(content)


def check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], source: Path | str) -> None:
    """Raise WeightsError, naming the source, unless both hold the same tensors in the same shapes."""
    if missing := sorted(expected.keys() - found.keys()):
        raise WeightsError(f"{source} lacks {_named(missing)}.")
    if extra := sorted(found.keys() - expected.keys()):
        raise WeightsError(f"{source} holds tensors the network has no place for: {_named(extra)}.")
    for key, tensor in expected.items():
        shape, dtype = tuple(found[key].shape), found[key].dtype
        if shape != tuple(tensor.shape):
            raise WeightsError(f"{source}: {key} is {shape}, the network needs {tuple(tensor.shape)}.")
        if not dtype.is_floating_point:
            raise WeightsError(f"{source}: {key} holds {dtype}, not floating-point numbers.")


def _named(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
