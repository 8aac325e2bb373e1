"""Faults of the device get a class of their own; bugs and full memory keep theirs."""

import pytest
import torch

from model.device import device_faults_translated
from model.errors import DeviceFailed


def test_a_fault_that_cuda_reports_is_the_devices() -> None:
    with pytest.raises(DeviceFailed), device_faults_translated():
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize("kind", [RuntimeError, torch.OutOfMemoryError])
def test_other_errors_pass_as_they_are(kind: type[Exception]) -> None:
    with pytest.raises(kind), device_faults_translated():
        raise kind("shapes do not match")
