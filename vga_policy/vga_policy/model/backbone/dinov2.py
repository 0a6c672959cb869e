"""DINOv2 with registers: VGGT's own patch embedding (ViT-L/14 in the public checkpoint)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vga_policy.model.backbone.attention import Block
from vga_policy.model.backbone.patches import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PATCH,
    GridEncoder,
    PatchProjection,
    grid_positions,
    standardize,
)


@dataclass(frozen=True, kw_only=True)
class DinoV2Config:
    """DINOv2's shape.

    kind: of the vision encoder. width: of a token. depth: number of layers. heads: attention heads of a layer.
    registers: register tokens of a view. grid: side of the learned grid of position embeddings (37 patches are 518
    pixels).
    """

    kind: Literal["dinov2"] = "dinov2"
    width: int = 1024
    depth: int = 24
    heads: int = 16
    registers: int = 4
    grid: int = 37

    def build(self, width: int) -> DinoV2:
        """`width` is the backbone's; DINOv2 has no projector, so it must be its own."""
        if width != self.width:
            raise ValueError(f"vision.width is {self.width} but the backbone's is {width}; dinov2 has no projector")
        return DinoV2(self)


class DinoV2(GridEncoder):
    """Patch tokens of DINOv2's last block, after its final norm."""

    def __init__(self, config: DinoV2Config) -> None:
        super().__init__()
        width = config.width
        self.grid = config.grid
        self.patch_embed = PatchProjection(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, width))
        self.register_tokens = nn.Parameter(torch.zeros(1, config.registers, width))
        # Part of the checkpoint. Masked images are DINOv2's own pretraining; nothing here uses it.
        self.mask_token = nn.Parameter(torch.zeros(1, width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, config.heads, layer_scale=1.0, eps=1e-6) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.normal_(self.register_tokens, std=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [0, 1] → [N, H/14 · W/14, width]."""
        n, _, height, width = images.shape
        patches = self.patch_embed(standardize(images, IMAGENET_MEAN, IMAGENET_STD))
        patches = patches + grid_positions(self.pos_embed[:, 1:], self.grid, height // PATCH, width // PATCH)
        cls = self.cls_token + self.pos_embed[:, :1]
        prefix = torch.cat([cls, self.register_tokens], dim=1).expand(n, -1, -1)
        x = torch.cat([prefix, patches], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, prefix.shape[1] :]
