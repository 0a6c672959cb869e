"""A small convolutional patch embedding for models trained from scratch on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vga_policy.model.backbone.patches import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PATCH,
    GridEncoder,
    grid_positions,
    standardize,
)


@dataclass(frozen=True, kw_only=True)
class ConvStemConfig:
    """kind: of the vision encoder. channels: width of the convolutions at half resolution.

    grid: side of the learned grid of positions.
    """

    kind: Literal["conv_stem"] = "conv_stem"
    channels: int = 48
    grid: int = 8

    def build(self, width: int) -> ConvStem:
        """`width` is the backbone's."""
        return ConvStem(self, width)


class ConvStem(GridEncoder):
    """Two convolutions at half resolution, then one per patch: early convolutions make small transformers trainable."""

    def __init__(self, config: ConvStemConfig, width: int) -> None:
        super().__init__()
        self.grid = config.grid
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, config.channels // 2, kernel_size=4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(config.channels // 2, config.channels, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(config.channels, width, kernel_size=PATCH // 2, stride=PATCH // 2),
        )
        self.norm = nn.LayerNorm(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2, width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [0, 1] → [N, H/14 · W/14, width]."""
        standard = standardize(images, IMAGENET_MEAN, IMAGENET_STD)
        features = self.convolutions(standard.to(self.pos_embed.dtype))
        patches = self.norm(features.flatten(2).transpose(1, 2))
        return patches + grid_positions(self.pos_embed, self.grid, features.shape[-2], features.shape[-1])
