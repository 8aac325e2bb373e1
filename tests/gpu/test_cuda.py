"""CUDA computes what the CPU computes: the tiny networks, one guided denoising step, the same noise."""

import pytest
import torch
from torch import Tensor

from model.schedule import draw_noise, seeded_generator
from model.stages.denoise import Conditions, encode_crops, predict_velocity, read_reference
from model.stages.plan_windows import plan_windows
from model.weights import load_model
from model.windows import WINDOW_FRAMES
from worker.model_host import CUDA, gpu_memory

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CPU = torch.device("cpu")
SINGLE_TOLERANCE = 1e-3
"""Relative. Both add in single precision, in another order."""

HALF_TOLERANCE = 3e-2
"""Relative. Half precision keeps three decimal digits of each of some thousand sums."""


@torch.inference_mode()
def guided_step(device: torch.device, dtype: torch.dtype) -> Tensor:
    """The velocity (1, 4, F, h, w) of one window at the first timestep, from crops and audio that a seed draws."""
    model = load_model("tiny", device=device, dtype=dtype)
    generator = seeded_generator(0)
    size = model.config.crop_size
    crops = torch.randint(0, 256, (WINDOW_FRAMES, size, size, 3), dtype=torch.uint8, generator=generator)
    audio = draw_noise(generator, (1, WINDOW_FRAMES, 50, 384)).to(device, dtype)
    latents = encode_crops(model, crops, lambda: None)
    conditions = Conditions(latents, audio, read_reference(model, latents, lambda: None), 3.5)
    noisy = draw_noise(generator, latents.shape).to(device)
    window = plan_windows(WINDOW_FRAMES, 1).steps[0][0]
    return predict_velocity(model, noisy, 999, window, conditions).double().cpu()


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def on_the_cpu() -> Tensor:
    return guided_step(CPU, torch.float32)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, SINGLE_TOLERANCE), (torch.float16, HALF_TOLERANCE)])
def test_a_guided_step_is_the_cpus(on_the_cpu: Tensor, dtype: torch.dtype, tolerance: float) -> None:
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        on_cuda = guided_step(torch.device(CUDA), dtype)
    assert relative_error(on_cuda, on_the_cpu) <= tolerance


def test_a_worker_knows_what_its_renders_take() -> None:
    device = torch.device(CUDA)
    model = load_model("tiny", device=device, dtype=torch.float16)
    held = gpu_memory(device)
    assert sum(parameter.nbytes for parameter in model.denoising_unet.parameters()) < held["allocated"]
    assert held["allocated"] <= held["peak"] <= held["reserved"]
