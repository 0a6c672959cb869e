"""AdamW and its schedule: warm-up, then a cosine to zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """rate: learning rate at its highest. warm_up: steps until then. clip: largest norm of the gradient.

    weight_decay: of matrices, kernels and tokens; norms and biases have none.
    """

    rate: float = 2e-4
    warm_up: int = 500
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0, of `steps`."""
        warm_up = min(self.warm_up, steps)
        if step < warm_up:
            return self.rate * (step + 1) / warm_up
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))

    def build(self, model: nn.Module) -> torch.optim.AdamW:
        """The optimiser of what trains."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.rate, betas=self.betas, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of all groups."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def moments(optimiser: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's memory as tensors, `moment/parameter`."""
    return {
        f"{moment}/{name}": optimiser.state[parameter][moment]
        for name, parameter in model.named_parameters()
        if parameter in optimiser.state
        for moment in MOMENTS
    }


def restore_moments(optimiser: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Puts back what `moments` gave."""
    for name, parameter in model.named_parameters():
        if f"{MOMENTS[0]}/{name}" in tensors:
            state: dict[str, Any] = optimiser.state[parameter]
            for moment in MOMENTS:
                saved = tensors[f"{moment}/{name}"].to(parameter.device)
                # The fused optimiser wants them laid out in memory as their parameter.
                state[moment] = torch.empty_like(parameter).copy_(saved) if saved.shape == parameter.shape else saved
