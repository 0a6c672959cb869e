"""VGGT's alternating-attention backbone.

Every layer is a frame block, in which each token group attends to itself (equation 2), followed by a global block, in
which every token attends to every other (equation 3). Each view is a group; the policy adds its own (equation 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vga_policy.model.backbone.attention import Block, Group
from vga_policy.model.backbone.dinov2 import DinoV2Config
from vga_policy.model.backbone.patches import PATCH
from vga_policy.model.backbone.rope import Rope, patch_positions, rope_table
from vga_policy.model.backbone.vision import VisionConfig


@dataclass(frozen=True, kw_only=True)
class AggregatorConfig:
    """The backbone's shape.

    width: of a token. depth: number of layers, each one frame and one global block. heads: attention heads of a block.
    registers: register tokens of a view. layer_scale: initial LayerScale. vision: the encoder of patches.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    registers: int = 4
    layer_scale: float = 0.01
    vision: VisionConfig = field(default_factory=DinoV2Config)

    def build(self) -> Aggregator:
        """The backbone, initialized at random."""
        return Aggregator(self)


@dataclass(frozen=True)
class Features:
    """What every layer leaves behind: its frame block's and its global block's output, each [B, N, C].

    The N tokens are those of the views (specials before patches, view after view), then the other groups'.
    """

    frame: tuple[Tensor, ...]
    whole: tuple[Tensor, ...]
    groups: tuple[Group, ...]
    specials: int

    def of_views(self, layer: int) -> Tensor:
        """Both outputs of a layer for the views' tokens, [B, S, P, 2C]: what VGGT's heads read."""
        views = self.groups[0]
        both = torch.cat([self.frame[layer][:, views.tokens], self.whole[layer][:, views.tokens]], dim=-1)
        return both.unflatten(1, (views.runs, views.length))

    def camera_tokens(self) -> Tensor:
        """The last layer's camera tokens, [B, S, 2C]."""
        return self.of_views(-1)[:, :, 0]

    def patch_tokens(self, layer: int) -> Tensor:
        """A layer's patch tokens, [B, S, K, 2C]."""
        return self.of_views(layer)[:, :, self.specials :]

    def of_group(self, group: int, layer: int) -> Tensor:
        """A layer's final tokens of one group, [B, m, C]."""
        return self.whole[layer][:, self.groups[group].tokens]

    def split_last_group(self, layer: int) -> tuple[Tensor, Tensor]:
        """A layer's final tokens: all groups but the last, [B, n, C], and the last, [B, m, C]."""
        start = self.groups[-1].start
        return self.whole[layer][:, :start], self.whole[layer][:, start:]


class Aggregator(nn.Module):
    """From images, and other groups of tokens, to the features of every layer."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: AggregatorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width

        def blocks() -> nn.ModuleList:
            return nn.ModuleList(
                Block(width, config.heads, qk_norm=True, layer_scale=config.layer_scale) for _ in range(config.depth)
            )

        self.patch_embed = config.vision.build(width)
        self.frame_blocks = blocks()
        self.global_blocks = blocks()
        # Slot 0 of the second axis belongs to the first view, slot 1 to all others: the order of views matters.
        self.camera_token = nn.Parameter(torch.randn(1, 2, 1, width) * 1e-6)
        self.register_token = nn.Parameter(torch.randn(1, 2, config.registers, width) * 1e-6)
        self._fixed: tuple[int, int, int, int] | None = None  # what the table in these two is for
        self.register_buffer("cos", None, persistent=False)
        self.register_buffer("sin", None, persistent=False)

    def forward(self, images: Tensor, others: Sequence[Tensor] = ()) -> Features:
        """Images [B, S, 3, H, W] in [0, 1], H and W multiples of 14; other groups [B, n, C] each.

        One patch grid serves all views: they share H and W.
        """
        return self.alternate(self.embed_views(images), others, (images.shape[-2], images.shape[-1]))

    def alternate(self, views: Tensor, others: Sequence[Tensor], size: tuple[int, int]) -> Features:
        """The alternating blocks over view tokens [B, S, P, C] of images of `size` (H, W) and the other groups."""
        groups = self._groups(views, others)
        rope = self._rope(views, sum(other.shape[1] for other in others), size)
        x = torch.cat([views.flatten(1, 2), *others], dim=1)
        frame, whole = [], []
        for frame_block, global_block in zip(self.frame_blocks, self.global_blocks, strict=True):
            x = frame_block(x, rope, groups)
            frame.append(x)
            x = global_block(x, rope)
            whole.append(x)
        return Features(tuple(frame), tuple(whole), groups, self.specials)

    @property
    def specials(self) -> int:
        """Tokens of a view before its patches: one camera token and the registers."""
        return 1 + self.config.registers

    def embed_views(self, images: Tensor) -> Tensor:
        """Images [B, S, 3, H, W] → tokens [B, S, specials + K, C]."""
        patches = self.patch_embed(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        specials = torch.cat([self.camera_token, self.register_token], dim=2)
        first, rest = specials[:, :1], specials[:, 1:].expand(-1, images.shape[1] - 1, -1, -1)
        return torch.cat([torch.cat([first, rest], dim=1).expand(len(images), -1, -1, -1), patches], dim=2)

    @staticmethod
    def _groups(views: Tensor, others: Sequence[Tensor]) -> tuple[Group, ...]:
        groups = [Group(0, views.shape[1], views.shape[2])]
        for other in others:
            groups.append(Group(groups[-1].tokens.stop, 1, other.shape[1]))
        return tuple(groups)

    def fix_positions(self, views: int, others: int, size: tuple[int, int], device: torch.device) -> None:
        """Makes the table of rotations for so many views of `size` (H, W) and other tokens once and for all.

        For inputs of other sizes it is made in every pass, as ever. It stays in float32: this comes after a change of
        the model's precision.
        """
        self._fixed = None
        rope = self._rope(torch.empty(1, views, 0), others, size)
        self.cos, self.sin = rope.cos.to(device), rope.sin.to(device)
        self._fixed = (views, others, *size)

    def _rope(self, views: Tensor, others: int, size: tuple[int, int]) -> Rope:
        """Patches sit at their place in the image, counted from 1; every other token at (0, 0)."""
        if self._fixed == (views.shape[1], others, *size):
            return Rope(self.cos, self.sin)
        patches = patch_positions(size[0] // PATCH, size[1] // PATCH, views.device)
        view = torch.cat([patches.new_zeros(self.specials, 2), patches])
        positions = torch.cat([view.repeat(views.shape[1], 1), patches.new_zeros(others, 2)])
        return rope_table(positions, self.config.width // self.config.heads)
