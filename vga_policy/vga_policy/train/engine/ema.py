"""The moving average of the weights (EMA), which acts more steadily than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Average of the parameters that train. decay: share of the past kept at each step; 0 keeps none, nor a copy."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._live = trained if decay else {}
        self.tensors: dict[str, Tensor] = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the weights after `step` steps in. Early on the past is short: it starts from noise."""
        if self.tensors:
            decay = min(self._decay, step / (step + 10))
            torch._foreach_lerp_(list(self.tensors.values()), [p.detach() for p in self._live.values()], 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model has the average for weights; in all processes that divide it."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        # By value: a divided weight's memory is known to what gathers it.
        for name, parameter in self._live.items():
            held = parameter.detach().clone()
            parameter.copy_(self.tensors[name])
            self.tensors[name].copy_(held)
