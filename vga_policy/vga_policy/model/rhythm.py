"""A VGA that also follows a rhythm: the model of an untrained policy. No trained policy has one.

Random weights alone hold an arm near one pose. This model adds to its chunk what a small network makes of the
proprioception, and `vga_policy.inference.untrained` gives that network weights that keep an arm moving.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vga_policy.model.vga import VGA, VGAConfig


@dataclass(frozen=True, kw_only=True)
class RhythmicVGAConfig(VGAConfig):
    """rhythm: hidden units of the path from proprioception to the chunk."""

    rhythm: int

    def build(self) -> RhythmicVGA:
        """The model, initialized at random; its rhythm is silent."""
        return RhythmicVGA(self)


class RhythmicVGA(VGA):
    """The sum of a VGA's chunk and a rhythm's."""

    def __init__(self, config: RhythmicVGAConfig) -> None:
        super().__init__(config)
        self.rhythm = Rhythm(config.proprioception, config.rhythm, config.horizon, config.actions)

    def forward(self, images: Tensor, language: Tensor, proprioception: Tensor) -> Tensor:
        """Inputs and output as VGA's."""
        return super().forward(images, language, proprioception) + self.rhythm(proprioception)


class Rhythm(nn.Module):
    """Proprioception [B, P] → its share of the normalized chunk [B, horizon, actions]. It starts silent."""

    def __init__(self, proprioception: int, hidden: int, horizon: int, actions: int) -> None:
        super().__init__()
        self.steps = (horizon, actions)
        self.input = nn.Linear(proprioception, hidden)
        self.output = nn.Linear(hidden, horizon * actions)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, proprioception: Tensor) -> Tensor:
        """Normalized to [-1, 1], both ways."""
        hidden = torch.tanh(self.input(proprioception.to(self.input.weight.dtype)))
        return self.output(hidden).unflatten(-1, self.steps)
