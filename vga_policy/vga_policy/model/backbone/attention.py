"""The transformer block every part of the model is made of.

Pre-norm self-attention and MLP, each scaled by a learned vector (LayerScale) before it is added. Sub-module names
are those of the public DINOv2 and VGGT checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vga_policy.model.backbone.rope import Rope, rotate


class Group(NamedTuple):
    """`runs` stretches of `length` neighboring tokens from `start` on; attention stays inside each run."""

    start: int
    runs: int
    length: int

    @property
    def tokens(self) -> slice:
        """Where in the sequence the group is."""
        return slice(self.start, self.start + self.runs * self.length)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of q [B, N, heads, d] over k, v [B, M, heads, d]; returns [B, N, heads, d]."""
    out = functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


class SelfAttention(nn.Module):
    """Multi-head self-attention, with optional normalization of queries and keys."""

    def __init__(self, width: int, heads: int, *, qk_norm: bool = False) -> None:
        super().__init__()
        self.heads = heads
        head_dim = width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.LayerNorm(head_dim) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(head_dim) if qk_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rope: Rope | None = None, groups: Sequence[Group] | None = None) -> Tensor:
        """x [B, N, C] → [B, N, C]. `groups` cover the sequence; without them every token sees every other."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        q, k = q.to(v.dtype), k.to(v.dtype)
        out = attend(q, k, v) if groups is None else torch.cat([_attend_within(g, q, k, v) for g in groups], dim=1)
        return self.proj(out.flatten(-2))


def _attend_within(group: Group, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    def split(x: Tensor) -> Tensor:
        return x[:, group.tokens].unflatten(1, (group.runs, group.length)).flatten(0, 1)

    return attend(split(q), split(k), split(v)).unflatten(0, (-1, group.runs)).flatten(1, 2)


class CrossAttention(nn.Module):
    """Multi-head attention of queries over another sequence."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x [B, N, C] asks, context [B, M, C] answers; returns [B, N, C]."""
        q = self.q(x).unflatten(-1, (self.heads, -1))
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return self.proj(attend(q, k, v).flatten(-2))


class Mlp(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width if out is None else out)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] → [..., out]."""
        return self.fc2(functional.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, width: int, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), init))

    def forward(self, x: Tensor) -> Tensor:
        """[..., width], same shape."""
        return x * self.gamma


class Block(nn.Module):
    """x + LayerScale(attention(LN(x))), then x + LayerScale(MLP(LN(x)))."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        hidden: int | None = None,
        qk_norm: bool = False,
        layer_scale: float | None = 0.01,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = SelfAttention(width, heads, qk_norm=qk_norm)
        self.ls1: nn.Module = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, 4 * width if hidden is None else hidden)
        self.ls2: nn.Module = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

    def forward(self, x: Tensor, rope: Rope | None = None, groups: Sequence[Group] | None = None) -> Tensor:
        """x [B, N, C] → [B, N, C]; `groups` as in SelfAttention."""
        x = x + self.ls1(self.attn(self.norm1(x), rope, groups))
        return x + self.ls2(self.mlp(self.norm2(x)))
