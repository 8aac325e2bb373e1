"""Reading files of weights: whatever the bytes, it is tensors by name or a WeightsError."""

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.errors import WeightsError
from model.weight_files import read_tensors
from tests.damage import damages


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["zip", "pickle", "safetensors"])
def test_file_with_damaged_bytes_is_read_or_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    state = {"weight": torch.ones(4)}
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    for damage in damages(300):
        path.write_bytes(damage(whole))
        with suppress(WeightsError):
            assert all(isinstance(name, str) for name in read_tensors(path))


@pytest.mark.parametrize("content", [{3: torch.zeros(1)}, {"epoch": 3}, [torch.zeros(1)], torch.zeros(1), None])
def test_content_of_another_kind_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")

    with pytest.raises(WeightsError, match=r"weights\.pth is not a state dict"):
        read_tensors(tmp_path / "weights.pth")
