"""AdamW or, for hidden layers if asked, Muon; and the schedule of both: warm-up, then a cosine to zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq", "step", "momentum_buffer")
HIDDEN = 16  # inputs and outputs, at least, of the layers that Muon takes: not the first, the last and embeddings


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """rate: learning rate at its highest. warm_up: steps until then. clip: largest norm of the gradient.

    muon: learning rate of hidden matrices and kernels under Muon (K. Jordan et al., 2024), scaled to AdamW's step
    sizes; 0 leaves them to AdamW. From random weights it needs far fewer steps; `vga bench overfit` shows what they
    buy.
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
        hidden = [p for p in trained if self.muon and p.ndim in (2, 4) and min(p.shape[:2]) >= HIDDEN]
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
            optimisers.append(Muon(hidden, self.muon, self.weight_decay))
        return optimisers


class Muon(torch.optim.Muon):
    """torch's Muon, which takes matrices, for kernels as well: [out, in, h, w] is a matrix [out, in · h · w]."""

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> None:
        self.matrices = {p: p if p.ndim == 2 else nn.Parameter(p.detach().flatten(1).clone()) for p in parameters}
        group = {"params": list(self.matrices.values()), "highest": rate}
        super().__init__([group], lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update, of the kernels too."""
        kernels = [(kernel, matrix) for kernel, matrix in self.matrices.items() if kernel is not matrix]
        for kernel, matrix in kernels:
            matrix.copy_(kernel.flatten(1))
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        loss = super().step(closure)
        for kernel, matrix in kernels:
            kernel.copy_(matrix.unflatten(1, kernel.shape[1:]))
        return loss


def set_rates(optimisers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """Sets the learning rates to this share of their highest."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = share * group["highest"]


def moments(optimisers: Sequence[torch.optim.Optimizer], model: nn.Module) -> dict[str, Tensor]:
    """The optimisers' memory as tensors, `moment/parameter`."""
    return {
        f"{moment}/{name}": optimiser.state[kept][moment]
        for optimiser in optimisers
        for name, parameter in model.named_parameters()
        if (kept := _kept(optimiser, parameter)) in optimiser.state
        for moment in MOMENTS
        if moment in optimiser.state[kept]
    }


def restore_moments(optimisers: Sequence[torch.optim.Optimizer], model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Puts back what `moments` gave."""
    for optimiser in optimisers:
        trained = {parameter for group in optimiser.param_groups for parameter in group["params"]}
        for name, parameter in model.named_parameters():
            if (kept := _kept(optimiser, parameter)) not in trained:
                continue
            state: dict[str, Any] = {}
            for moment in MOMENTS:
                if (saved := tensors.get(f"{moment}/{name}")) is not None:
                    saved = saved.to(kept.device)
                    # Fused AdamW wants them laid out in memory as their parameter.
                    state[moment] = torch.empty_like(kept).copy_(saved) if kept.shape == saved.shape else saved
            if state:
                optimiser.state[kept] = state


def _kept(optimiser: torch.optim.Optimizer, parameter: nn.Parameter) -> nn.Parameter:
    """What the optimiser has for this parameter. (accelerate wraps optimisers.)"""
    own = getattr(optimiser, "optimizer", optimiser)
    return own.matrices.get(parameter, parameter) if isinstance(own, Muon) else parameter
