"""What a device's own faults mean: the one place where torch's exceptions for them get a meaning of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from model.errors import DeviceFailed


@contextmanager
def device_faults_translated() -> Iterator[None]:
    """Raise DeviceFailed for what CUDA calls an error: an illegal access, a fallen bus, an Xid. Also a decorator."""
    try:
        yield
    except torch.AcceleratorError as error:
        raise DeviceFailed("The device reported a fault.") from error
