"""AdamW or, for hidden layers if asked, Muon."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from vga_policy.train.config import OptimizerConfig
from vga_policy.train.engine.sharding import put

MOMENTS = ("exp_avg", "exp_avg_sq", "step", "momentum_buffer")
HIDDEN = 16  # inputs and outputs, at least, of the layers that Muon takes: not the first, the last and embeddings


def build_optimizers(config: OptimizerConfig, model: nn.Module) -> list[torch.optim.Optimizer]:
    """The optimizers of what trains in `model`: one, or two with Muon."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    hidden = [p for p in trained if config.muon and p.ndim in (2, 4) and min(p.shape[:2]) >= HIDDEN]
    taken = set(map(id, hidden))
    rest = [parameter for parameter in trained if id(parameter) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": config.weight_decay, "highest": config.lr},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "highest": config.lr},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)]
    if hidden:
        optimizers.append(Muon(hidden, config.muon, config.weight_decay))
    return optimizers


class Muon(torch.optim.Optimizer):
    """Muon (K. Jordan et al., 2024) with AdamW's step sizes, for matrices and for kernels.

    A kernel [out, in, h, w] is a matrix [out, in · h · w]. torch's own orthogonalizes in bfloat16, which processors
    without instructions for it emulate at a hundredth of the speed, and takes no kernels. Of processes that train
    together each orthogonalizes a share.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        group = {"params": list(parameters), "highest": lr}
        super().__init__([group], {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            averaged = {p: self._averaged(p, momentum).flatten(1) for p in group["params"] if p.grad is not None}
            for parameter, update in _orthogonalized(averaged).items():
                step = lr * 0.2 * math.sqrt(max(update.shape))  # as large as AdamW's, in the mean
                parameter.mul_(1 - lr * group["weight_decay"])
                parameter.add_(update.reshape(parameter.shape), alpha=-step)
        return loss

    def _averaged(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's momentum of the gradient."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average: Tensor = state["momentum_buffer"]
        average.lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def _orthogonalized(averaged: Mapping[nn.Parameter, Tensor]) -> dict[nn.Parameter, Tensor]:
    """The `orthogonal` of each, those of one shape together; those that are other processes' share come from them."""
    divided = dist.is_available() and dist.is_initialized()
    rank, processes = (dist.get_rank(), dist.get_world_size()) if divided else (0, 1)
    alike: dict[torch.Size, list[nn.Parameter]] = {}
    for parameter, matrix in averaged.items():
        alike.setdefault(matrix.shape, []).append(parameter)
    made: dict[nn.Parameter, Tensor] = {}
    for turn, parameters in enumerate(alike.values()):
        if mine := parameters[(rank + turn) % processes :: processes]:
            made.update(zip(mine, orthogonal(torch.stack([averaged[parameter] for parameter in mine])), strict=True))
    if processes == 1 or not averaged:
        return made
    together = torch.cat([made.get(p, torch.zeros_like(matrix)).flatten() for p, matrix in averaged.items()])
    dist.all_reduce(together)
    sizes = [matrix.numel() for matrix in averaged.values()]
    return {p: part.view_as(averaged[p]) for p, part in zip(averaged, together.split(sizes), strict=True)}


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrices [n, M, N] with singular values of about one: 0.7 to 1.2, by Newton and Schulz.

    The quintic's coefficients are Jordan's. Each step is a polynomial in the Gram matrix, times what there is: only
    the polynomials are multiplied, M x M, and what there is last of all.
    """
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    gram, product = x @ x.mT, None
    for left in reversed(range(steps)):
        factor = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        factor.diagonal(dim1=-2, dim2=-1).add_(3.4445)
        product = factor if product is None else factor @ product
        if left:
            gram = factor @ gram @ factor
    x = x if product is None else product @ x
    return x if wide is matrices else x.mT


def set_lr(optimizers: Sequence[torch.optim.Optimizer], scale: float) -> None:
    """Sets the learning rates to this share of their highest."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = scale * group["highest"]


def moments(optimizers: Sequence[torch.optim.Optimizer], model: nn.Module) -> dict[str, Tensor]:
    """The optimizers' memory as tensors, `moment/parameter`."""
    return {
        f"{moment}/{name}": optimizer.state[parameter][moment]
        for optimizer in optimizers
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for moment in MOMENTS
        if moment in optimizer.state[parameter]
    }


def restore_moments(optimizers: Sequence[torch.optim.Optimizer], model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Puts back what `moments` gave."""
    for optimizer in optimizers:
        trained = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        for name, parameter in model.named_parameters():
            if parameter not in trained:
                continue
            state: dict[str, Any] = {}
            for moment in MOMENTS:
                if (saved := tensors.get(f"{moment}/{name}")) is not None:
                    if parameter.shape != saved.shape:
                        state[moment] = saved.to(parameter.device)
                        continue
                    # Fused AdamW wants them laid out in memory as their parameter.
                    state[moment] = torch.empty_like(parameter, requires_grad=False)
                    put(saved, state[moment])
            if state:
                optimizer.state[parameter] = state
