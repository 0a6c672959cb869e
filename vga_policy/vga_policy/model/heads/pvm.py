"""Progressive Volumetric Modulation (section 4.4): how every layer of the action head reads the backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vga_policy.model.backbone.attention import Block, CrossAttention


class ModulatedLayer(nn.Module):
    """One layer of the action head with PVM.

    Table 5's 284.5 M fit this literal reading to the last norm: two cross-attentions, the head's own block, the fusion
    and four LayerNorms. Two of those belong to the block. The paper does not place the others; they normalize the two
    conditions, residual streams of a pretrained backbone whose scale grows with depth.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_actions = nn.LayerNorm(width)
        self.norm_scene = nn.LayerNorm(width)
        self.attend_actions = CrossAttention(width, heads)
        self.attend_scene = CrossAttention(width, heads)
        self.block = Block(width, heads, layer_scale=None)
        self.fuse = nn.Linear(2 * width, width)
        # Starts as h' + W a. A linear layer's usual start would shrink h in every layer, and its gradient with it.
        with torch.no_grad():
            self.fuse.weight[:, :width] = torch.eye(width)

    def forward(self, h: Tensor, scene: Tensor, actions: Tensor) -> Tensor:
        """h [B, horizon, D], conditions H_a = scene [B, n, D] and H_b = actions [B, m, D] → next h."""
        asked = self.attend_actions(h, self.norm_actions(actions))  # equation 8
        a = self.attend_scene(asked, self.norm_scene(scene))  # equation 9
        return self.fuse(torch.cat([self.block(h), a], dim=-1))  # equation 10


class PlainLayer(nn.Module):
    """One layer of the action head without PVM: cross-attention to one set of features, then the head's own block.

    Section 4.4 calls it "a standard cross-attention mechanism, where the intermediate decoder latent attends to the
    final 3D representations": those are taken to be all tokens of the last backbone layer, for every layer of the head.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attend = CrossAttention(width, heads)
        self.block = Block(width, heads, layer_scale=None)

    def forward(self, h: Tensor, scene: Tensor, actions: Tensor) -> Tensor:
        """Shapes as in ModulatedLayer."""
        return self.block(h + self.attend(h, self.norm(torch.cat([scene, actions], dim=1))))
