"""Exponential moving averages of weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """The average of parameters over the steps of a run, float32, beside the parameters themselves.

    After step n (from 1) the average keeps the share min(decay, (1 + n) / (10 + n)) of itself, so that the random
    weights of the start are soon forgotten.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.averages = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def update(self, steps_done: int) -> None:
        """Take in the parameters as they are after so many steps."""
        kept = min(self._decay, (1 + steps_done) / (10 + steps_done))
        averages = list(self.averages.values())
        torch._foreach_lerp_(averages, [each.detach() for each in self._parameters.values()], 1.0 - kept)

    def load(self, averages: Mapping[str, Tensor]) -> None:
        """Go on with averages from before."""
        for name, average in self.averages.items():
            average.copy_(averages[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The networks have the averages as their weights while this is open."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self._parameters.items():
            present = parameter.detach().clone()
            parameter.copy_(self.averages[name])
            self.averages[name].copy_(present)
