"""From pixels to patches: what every vision encoder shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 14
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Color = tuple[float, float, float]


def standardize(images: Tensor, mean: Color, std: Color) -> Tensor:
    """(images − mean) / std per channel; images [N, 3, H, W] in [0, 1].

    In plain numbers: constants would be a copy to the GPU each time, or buffers that the meta device leaves empty.
    """
    channels = [(image - m) / s for image, m, s in zip(images.unbind(1), mean, std, strict=True)]
    return torch.stack(channels, dim=1)


def grid_positions(learned: Tensor, side: int, rows: int, columns: int) -> Tensor:
    """Position embeddings learned on a square grid, [1, side², C], for rows x columns patches in reading order."""
    if (rows, columns) == (side, side):
        return learned
    grid = learned.float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    resized = functional.interpolate(grid, size=(rows, columns), mode="bicubic", antialias=True)
    return resized.flatten(2).transpose(1, 2).to(learned.dtype)


class GridEncoder(nn.Module):
    """A vision encoder whose position embeddings were learned on a square grid, `grid` patches a side."""

    grid: int
    pos_embed: nn.Parameter

    def fix_grid(self, side: int) -> None:
        """Resizes the embeddings to side x side patches for good, so that no forward pass has to."""
        prefix = self.pos_embed.shape[1] - self.grid**2
        positions = grid_positions(self.pos_embed[:, prefix:], self.grid, side, side)
        self.pos_embed = nn.Parameter(torch.cat([self.pos_embed[:, :prefix], positions], dim=1).detach())
        self.grid = side


class PatchProjection(nn.Module):
    """A linear map of every patch: [N, 3, H, W] → [N, H/14 · W/14, width] in reading order."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """Images of any scale, H and W multiples of 14."""
        return self.proj(images.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class LinearPatchesConfig:
    """VGGT's plainest patch embedding (`conv`), without a pretrained encoder. kind: of the vision encoder."""

    kind: Literal["linear"] = "linear"

    def build(self, width: int) -> LinearPatches:
        """`width` is the backbone's."""
        return LinearPatches(width)


class LinearPatches(PatchProjection):
    """A linear map of every standardized patch; where it is, only the backbone's rotary embedding says."""

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [0, 1] → [N, H/14 · W/14, width]."""
        return super().forward(standardize(images, IMAGENET_MEAN, IMAGENET_STD))
