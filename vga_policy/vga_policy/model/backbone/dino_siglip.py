"""Table 5's vision encoder: DINOv2 and SigLIP side by side, their patch features fused and projected.

730.9 M parameters are exactly timm's `vit_large_patch14_reg4_dinov2.lvd142m` and `vit_so400m_patch14_siglip_224`,
the pair of VLA-Adapter. Parameter names are timm's, so that its checkpoints load as they are; they hold parts that
patch features never pass through: the last block, the final norm and SigLIP's pooling head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vga_policy.model.backbone.attention import Block, Mlp
from vga_policy.model.backbone.patches import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PATCH,
    Color,
    GridEncoder,
    PatchProjection,
    grid_positions,
    standardize,
)
from vga_policy.model.backbone.projectors import Projector


@dataclass(frozen=True, kw_only=True)
class TimmVitConfig:
    """A vision transformer as timm builds it.

    width: of a token. depth: number of layers. heads: attention heads of a layer. hidden: width of a layer's MLP.
    prefix_tokens: class and register tokens before the patches. layer_scale: None builds none.
    pooled: the checkpoint ends in attention pooling. mean, std: of the colors that it standardizes views with.
    grid: side of the learned grid of position embeddings.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    prefix_tokens: int
    layer_scale: float | None
    pooled: bool
    mean: Color
    std: Color
    grid: int = 16


DINOV2_LARGE = TimmVitConfig(
    width=1024,
    depth=24,
    heads=16,
    hidden=4096,
    prefix_tokens=5,
    layer_scale=1e-5,
    pooled=False,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)
SIGLIP_SO400M = TimmVitConfig(
    width=1152,
    depth=27,
    heads=16,
    hidden=4304,
    prefix_tokens=0,
    layer_scale=None,
    pooled=True,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


class AttentionPool(nn.Module):
    """The parameters of SigLIP's pooling head, held for its checkpoint's sake."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.latent = nn.Parameter(torch.zeros(1, 1, width))
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)


class TimmVit(GridEncoder):
    """Patch features of the second-to-last block, without the final norm (as Prismatic and VLA-Adapter take them)."""

    def __init__(self, config: TimmVitConfig) -> None:
        super().__init__()
        self.config = config
        self.grid = config.grid
        width = config.width
        self.patch_embed = PatchProjection(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2, width))
        if config.prefix_tokens:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
            self.reg_token = nn.Parameter(torch.zeros(1, config.prefix_tokens - 1, width))
        self.blocks = nn.ModuleList(
            Block(width, config.heads, hidden=config.hidden, layer_scale=config.layer_scale, eps=1e-6)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        if config.pooled:
            self.attn_pool = AttentionPool(width, config.hidden)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [0, 1] → [N, H/14 · W/14, width]."""
        config = self.config
        x = self.patch_embed(standardize(images, config.mean, config.std))
        x = x + grid_positions(self.pos_embed, self.grid, images.shape[-2] // PATCH, images.shape[-1] // PATCH)
        if config.prefix_tokens:
            prefix = torch.cat([self.cls_token, self.reg_token], dim=1)
            x = torch.cat([prefix.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks[:-1]:
            x = block(x)
        return x[:, config.prefix_tokens :]


@dataclass(frozen=True, kw_only=True)
class DinoSiglipConfig:
    """Both encoders' shape.

    kind: of the vision encoder. dino, siglip: the two encoders. projector: widths after each layer of the projector
    (Table 5: 27.6 M from 2176 fused channels).
    """

    kind: Literal["dinosiglip"] = "dinosiglip"
    dino: TimmVitConfig = DINOV2_LARGE
    siglip: TimmVitConfig = SIGLIP_SO400M
    projector: tuple[int, ...] = (8704, 896, 896)

    def build(self, width: int) -> DinoSiglip:
        """`width` is the backbone's."""
        return DinoSiglip(self, width)


class DinoSiglip(nn.Module):
    """Patch tokens of both encoders, concatenated by channel and projected to the backbone's width."""

    def __init__(self, config: DinoSiglipConfig, width: int) -> None:
        super().__init__()
        self.dino = TimmVit(config.dino)
        self.siglip = TimmVit(config.siglip)
        self.projector = Projector(config.dino.width + config.siglip.width, config.projector, width)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [0, 1] → [N, H/14 · W/14, width]."""
        return self.projector(torch.cat([self.dino(images), self.siglip(images)], dim=-1))
