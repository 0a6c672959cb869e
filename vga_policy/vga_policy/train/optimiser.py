"""AdamW or, for hidden matrices if asked, Muon; and the schedule of both: warm-up, then a cosine to zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq", "step", "momentum_buffer")
HIDDEN = 16  # shorter side, at least, of the matrices that Muon takes: not of inputs, outputs and embeddings


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """rate: learning rate at its highest. warm_up: steps until then. clip: largest norm of the gradient.

    muon: learning rate of hidden matrices under Muon (K. Jordan et al., 2024), scaled to AdamW's step sizes; 0
    leaves them to AdamW. From random weights it needs far fewer steps; `vga bench overfit` shows what they buy.
    weight_decay: of matrices, kernels and tokens; norms and biases have none.
    """

    rate: float = 2e-4
    muon: float = 0.0
    warm_up: int = 500
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0

    def share_at(self, step: int, steps: int) -> float:
        """Learning rates of a step, counted from 0, of `steps`, as a share of the highest."""
        warm_up = min(self.warm_up, steps)
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))

    def build(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """The optimisers of what trains: one, or two with Muon."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        hidden = [p for p in trained if self.muon and p.ndim == 2 and min(p.shape) >= HIDDEN]
        taken = set(map(id, hidden))
        rest = [parameter for parameter in trained if id(parameter) not in taken]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": self.weight_decay, "highest": self.rate},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "highest": self.rate},
        ]
        optimisers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=self.rate, betas=self.betas, fused=True)
        ]
        if hidden:
            group = {"params": hidden, "highest": self.muon}
            decay, scale = self.weight_decay, "match_rms_adamw"
            optimisers.append(torch.optim.Muon([group], lr=self.muon, weight_decay=decay, adjust_lr_fn=scale))
        return optimisers


def set_rates(optimisers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """Sets the learning rates to this share of their highest."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = share * group["highest"]


def moments(optimisers: Sequence[torch.optim.Optimizer], model: nn.Module) -> dict[str, Tensor]:
    """The optimisers' memory as tensors, `moment/parameter`."""
    return {
        f"{moment}/{name}": optimiser.state[parameter][moment]
        for optimiser in optimisers
        for name, parameter in model.named_parameters()
        if parameter in optimiser.state
        for moment in MOMENTS
        if moment in optimiser.state[parameter]
    }


def restore_moments(optimisers: Sequence[torch.optim.Optimizer], model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Puts back what `moments` gave."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    for optimiser in optimisers:
        for parameter in (parameter for group in optimiser.param_groups for parameter in group["params"]):
            state: dict[str, Any] = {}
            for moment in MOMENTS:
                if (saved := tensors.get(f"{moment}/{names[parameter]}")) is not None:
                    saved = saved.to(parameter.device)
                    # Fused AdamW wants them laid out in memory as their parameter.
                    alike = saved.shape == parameter.shape
                    state[moment] = torch.empty_like(parameter).copy_(saved) if alike else saved
            if state:
                optimiser.state[parameter] = state
