"""Chooses device and precision, loads the pipeline, and knows what it takes. Imports torch: only for the process that
renders."""

from collections.abc import Mapping

import torch

from core.settings import Settings
from model.pipeline import Pipeline, load_pipeline

CUDA = "cuda"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def host_pipeline(settings: Settings) -> Pipeline:
    """The pipeline of this process. Raises WeightsError or DetectorError, for the operator to fix."""
    device = choose_device(settings.device)
    return load_pipeline(settings.weights, device, choose_dtype(settings.dtype, device), settings.yunet_path)


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA when there is one, else the CPU; any other name is torch's own."""
    if name == "auto":
        return torch.device(CUDA if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is half precision on CUDA and single precision on the CPU, where half is a hundred times slower."""
    if name == "auto":
        return torch.float16 if device.type == CUDA else torch.float32
    return DTYPES[name]


def gpu_memory(device: torch.device) -> Mapping[str, int]:
    """Bytes of GPU memory that this process holds in tensors (`allocated`), has taken for them (`reserved`), and has
    held in them at most (`peak`). Empty on a CPU."""
    if device.type != CUDA:
        return {}
    return {
        "allocated": torch.cuda.memory_allocated(device),
        "reserved": torch.cuda.memory_reserved(device),
        "peak": torch.cuda.max_memory_allocated(device),
    }
