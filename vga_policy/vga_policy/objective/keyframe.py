"""A second target for the language token, in training only: where the arm next takes hold of something or lets go.

Not in the paper, which starts from weights that know what words look like. From random weights, action chunks teach
slowly which of several objects an instruction means: during the first second the arm moves much the same for all of
them. The keyframe that the demonstration itself ends that motion with differs from the first sample on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vga_policy.model.backbone.aggregator import Features

LANGUAGE = 1  # group of tokens (equation 1)


class KeyframeHead(nn.Module):
    """The arm's part of proprioception at the next keyframe, K numbers, from the language token after each layer of the
    backbone."""

    def __init__(self, layers: int, width: int, numbers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, numbers)) for _ in range(layers)
        )

    def forward(self, features: Features) -> Tensor:
        """[B, layers, K], normalized as proprioception is."""
        said = [layer(features.of_group(LANGUAGE, index)[:, 0]) for index, layer in enumerate(self.layers)]
        return torch.stack(said, dim=1)
