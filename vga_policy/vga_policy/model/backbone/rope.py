"""Rotary position embedding in two dimensions, as VGGT's attention blocks use it.

Half of a head's channels turn with the token's row, half with its column. Within each half, channel i and
channel i + d/4 form a plane turned by position · 100^(−i / (d/4)). A token at position (0, 0) is left as it is:
that is where tokens without a place in the image sit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BASE = 100.0


class Rope(NamedTuple):
    """Cosines and sines of every token's angles, each [N, 1, 2, head_dim / 4] (tokens, heads, axes, planes)."""

    cos: Tensor
    sin: Tensor


def patch_positions(rows: int, columns: int, device: torch.device) -> Tensor:
    """Positions (row, column) of a grid's patches in reading order, float [rows · columns, 2], counted from 1."""
    row = torch.arange(1, rows + 1, device=device, dtype=torch.float32)
    column = torch.arange(1, columns + 1, device=device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(row, column, indexing="ij"), dim=-1).flatten(0, 1)


def rope_table(positions: Tensor, head_dim: int) -> Rope:
    """The table for tokens at `positions` [N, 2]. Cheap: one call serves every block of a forward pass."""
    planes = head_dim // 4
    frequencies = BASE ** -(torch.arange(planes, device=positions.device, dtype=torch.float32) / planes)
    angles = (positions[..., None] * frequencies)[:, None]
    return Rope(angles.cos(), angles.sin())


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Turns queries or keys x [B, N, heads, head_dim] by their tokens' angles; same shape, same dtype."""
    a, b = x.float().unflatten(-1, (2, 2, -1)).unbind(-2)
    turned = torch.stack((a * rope.cos - b * rope.sin, b * rope.cos + a * rope.sin), dim=-2)
    return turned.flatten(-3).to(x.dtype)
