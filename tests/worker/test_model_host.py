"""Which device and precision a worker takes."""

import pytest
import torch

from worker.model_host import choose_device, choose_dtype, gpu_memory

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_named_device_is_taken_at_its_word() -> None:
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize(
    ("name", "device", "dtype"),
    [
        ("auto", CPU, torch.float32),
        ("auto", GPU, torch.float16),
        ("bfloat16", CPU, torch.bfloat16),
        ("float32", GPU, torch.float32),
    ],
)
def test_precision_fits_the_device(name: str, device: torch.device, dtype: torch.dtype) -> None:
    assert choose_dtype(name, device) is dtype


def test_without_a_gpu_there_is_no_gpu_memory_to_tell_of() -> None:
    assert gpu_memory(CPU) == {}
