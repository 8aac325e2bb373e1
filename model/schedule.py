"""DDIM with zero terminal signal-to-noise ratio and v-prediction: the numbers of the published sampler (HighSync
inference configuration; Lin et al. 2023, arXiv 2305.08891; Song et al. 2020, arXiv 2010.02502, eta = 0).

diffusers' DDIMScheduler gives the same numbers when the steps divide 1000. For other counts it derives the previous
timestep by integer division, which is not the timestep that comes next; here it always is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """The noise schedule the published inference uses. `final_alpha`: alpha-bar after the last step.

    betas : evenly spaced, or, as in the published training, squares of evenly spaced numbers
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    final_alpha: float = 1.0
    betas: Literal["linear", "scaled_linear"] = "linear"


class DdimSchedule:
    """The timesteps of one sampling run and the deterministic step between them. Arithmetic is float32."""

    def __init__(self, num_inference_steps: int, config: ScheduleConfig | None = None) -> None:
        """Raises ValueError unless 1 <= num_inference_steps <= num_train_timesteps."""
        self._config = config or ScheduleConfig()
        self.timesteps = trailing_timesteps(num_inference_steps, self._config.num_train_timesteps)
        self.alphas = zero_snr_alphas(self._config)

    def previous_timestep(self, timestep: int) -> int:
        """The timestep that `step` leads to; -1 after the last one."""
        following = self.timesteps.index(timestep) + 1
        return self.timesteps[following] if following < len(self.timesteps) else -1

    def alpha(self, timestep: int) -> float:
        """alpha-bar, the share of signal power left at this timestep; timestep -1 is the finished sample."""
        return float(self.alphas[timestep]) if timestep >= 0 else self._config.final_alpha

    def predicted_original(self, velocity: Tensor, timestep: int, latents: Tensor) -> Tensor:
        """The finished sample as the network sees it from here: x0 = sqrt(a) x - sqrt(1 - a) v. float32."""
        alpha = self.alpha(timestep)
        return math.sqrt(alpha) * latents.float() - math.sqrt(1.0 - alpha) * velocity.float()

    def step(self, velocity: Tensor, timestep: int, latents: Tensor) -> Tensor:
        """Go from `timestep` to the one after it.

        velocity : predicted v at `timestep`, same shape as latents
        latents  : any shape
        returns  : float32, sqrt(a') x0 + sqrt(1 - a') eps
        """
        alpha, next_alpha = self.alpha(timestep), self.alpha(self.previous_timestep(timestep))
        original = self.predicted_original(velocity, timestep, latents)
        noise = math.sqrt(alpha) * velocity.float() + math.sqrt(1.0 - alpha) * latents.float()
        return math.sqrt(next_alpha) * original + math.sqrt(1.0 - next_alpha) * noise


def trailing_timesteps(num_inference_steps: int, num_train_timesteps: int) -> tuple[int, ...]:
    """Evenly spaced timesteps that begin at the very last one, for example 20 of 1000: 999, 949, ..., 49."""
    if not 1 <= num_inference_steps <= num_train_timesteps:
        raise ValueError(f"num_inference_steps must lie in 1..{num_train_timesteps}, got {num_inference_steps}.")
    counts = np.arange(num_train_timesteps, 0, -num_train_timesteps / num_inference_steps)[:num_inference_steps]
    return tuple(int(count) - 1 for count in counts.round())


def zero_snr_alphas(config: ScheduleConfig) -> Tensor:
    """alpha-bar of every training timestep, (num_train_timesteps,): the betas, then sqrt(alpha-bar) shifted and
    scaled so that the first value stays and the last is exactly zero.

    float32 and the published order of operations: near timestep 0 another order shows in the sixth digit of a step.
    """
    power = 2 if config.betas == "scaled_linear" else 1
    start, end = config.beta_start ** (1 / power), config.beta_end ** (1 / power)
    betas = torch.linspace(start, end, config.num_train_timesteps, dtype=torch.float32) ** power
    signal = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = signal[0].clone(), signal[-1].clone()
    rescaled = ((signal - last) * (first / (first - last))).square()
    ratios = torch.cat([rescaled[:1], rescaled[1:] / rescaled[:-1]])
    return torch.cumprod(ratios, dim=0)


def draw_noise(generator: torch.Generator, shape: Sequence[int]) -> Tensor:
    """Standard normal float32 noise from a CPU generator, so that a seed means the same on every device.

    A draw in float16 would be this draw rounded.
    """
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")


def derived_seed(*numbers: int) -> int:
    """A seed in [0, 2^63) that these numbers decide: others for others, and none near another."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seeded_generator(seed: int) -> torch.Generator:
    """A CPU generator at the start of the stream of `seed`."""
    return torch.Generator(device="cpu").manual_seed(seed)
