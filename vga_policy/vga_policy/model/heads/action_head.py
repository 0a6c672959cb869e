"""The action head (section 4.3): a regression transformer from learned embeddings to one chunk of actions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vga_policy.model.backbone.aggregator import Features
from vga_policy.model.heads.pvm import ModulatedLayer, PlainLayer


@dataclass(frozen=True, kw_only=True)
class ActionHeadConfig:
    """layers: at most as many as the backbone's. heads: attention heads of a layer.

    pvm: False reads the last backbone layer alone (Table 2).
    """

    layers: int = 12
    heads: int = 16
    pvm: bool = True

    def build(self, width: int, actions: int) -> ActionHead:
        """`width` is the backbone's; a step of the chunk has `actions` numbers."""
        return ActionHead(self, width, actions)

    def backbone_layers(self, depth: int) -> tuple[int, ...]:
        """The backbone layer each layer of the head reads.

        The paper has as many of one as of the other, 12; with VGGT's 24 every second is read, the last one included.
        """
        if not self.pvm:
            return (depth - 1,) * self.layers
        return tuple(math.ceil((layer + 1) * depth / self.layers) - 1 for layer in range(self.layers))


class ActionHead(nn.Module):
    """Equation 4: from embeddings z to a chunk.

    Table 5 leaves room for an input layer from actions · D channels to D, as VLA-Adapter has: a row of z holds
    one embedding of D channels for every number of a step; the row is normalized, mapped to D and rectified.
    """

    started: Tensor | None

    def __init__(self, config: ActionHeadConfig, width: int, actions: int) -> None:
        super().__init__()
        self.norm_in: nn.Module = nn.LayerNorm(actions * width)
        self.project_in: nn.Module = nn.Linear(actions * width, width)
        layer = ModulatedLayer if config.pvm else PlainLayer
        self.layers = nn.ModuleList(layer(width, config.heads) for _ in range(config.layers))
        self.norm_out = nn.LayerNorm(width)
        self.project_out = nn.Linear(width, actions)
        self.register_buffer("started", None, persistent=False)

    def fix_start(self, z: Tensor) -> None:
        """Computes what z alone decides once and for all; the layers that did are gone."""
        with torch.no_grad():
            self.started = self._start(z)
        self.norm_in = self.project_in = nn.Identity()

    def forward(self, z: Tensor, features: Features, backbone_layers: tuple[int, ...]) -> Tensor:
        """z [horizon, actions · D] and the backbone's features → the chunk [B, horizon, actions], normalized."""
        h = self._start(z) if self.started is None else self.started
        h = h.expand(len(features.whole[0]), -1, -1)
        for layer, index in zip(self.layers, backbone_layers, strict=True):
            h = layer(h, *features.split_last_group(index))
        # A model in bfloat16 keeps these two in float32: a chunk's steps are finer than bfloat16's.
        return self.project_out(self.norm_out(h.to(self.norm_out.weight.dtype)))

    def _start(self, z: Tensor) -> Tensor:
        return functional.relu(self.project_in(self.norm_in(z)))
