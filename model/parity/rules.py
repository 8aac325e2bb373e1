"""The rules by which both implementations make the same networks and inputs without sharing a file of them.

Every tensor is drawn from a generator seeded with the CRC-32 of the salt and the tensor's name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ANALYTIC_SUFFIXES = (".pe", "positional_embedding")
"""State-dict entries that follow from a formula and are therefore not drawn."""


@dataclass(frozen=True, slots=True)
class Goldens:
    """A folder of published numbers, the salt under which they were made, and the device to make them again on."""

    folder: Path
    salt: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def json(self, name: str) -> Any:
        """Read `name`. Raises OSError when it is missing."""
        return json.loads((self.folder / name).read_bytes())

    def arrays(self, name: str) -> Mapping[str, NDArray[Any]]:
        """Read `name`, an .npz. Raises OSError when it is missing."""
        with np.load(self.folder / name) as arrays:
            return {key: arrays[key] for key in arrays.files}

    def draw(self, name: str, shape: Sequence[int]) -> NDArray[np.float64]:
        """Standard normal numbers of this name."""
        return np.random.RandomState(crc32((self.salt + name).encode())).standard_normal(tuple(shape))

    def input(self, name: str, shape: Sequence[int], scale: float = 1.0) -> Tensor:
        """An input tensor, float32."""
        drawn = self.draw(f"input:{name}", shape).astype(np.float32)
        return torch.from_numpy(drawn * np.float32(scale)).to(self.device)

    def phase(self, name: str) -> float:
        """A number in [0, 1) of this name, for pictures made by formula."""
        return (crc32(f"{self.salt}input:{name}".encode()) % 1000) / 1000

    def weight(self, name: str, shape: Sequence[int]) -> Tensor:
        """A state-dict tensor, float32: matrices keep the size of what goes through them, scales lie around 1."""
        drawn = self.draw(name, shape).astype(np.float32)
        if len(shape) >= 2:
            return torch.from_numpy(drawn / np.float32(np.sqrt(np.prod(shape[1:]))))
        if name.endswith("weight"):
            return torch.from_numpy(np.float32(1.0) + np.float32(0.1) * drawn)
        return torch.from_numpy(np.float32(0.02) * drawn)

    def fill(self, network: nn.Module) -> None:
        """Give every tensor of a network its drawn value, by its state-dict key, and move it to the device."""
        state = {
            key: tensor if key.endswith(ANALYTIC_SUFFIXES) else self.weight(key, tensor.shape)
            for key, tensor in network.state_dict().items()
        }
        network.load_state_dict(state, strict=True)
        network.to(self.device).eval().requires_grad_(False)
