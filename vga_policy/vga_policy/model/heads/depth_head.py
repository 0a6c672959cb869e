"""VGGT's depth head (equation 6): a Dense Prediction Transformer with a confidence for every pixel.

Patch tokens of four layers become feature maps at 1/3.5, 1/7, 1/14 and 1/28 of the image's size, are fused from coarse
to fine, and end as depth = exp(·) and confidence = 1 + exp(·).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vga_policy.model.backbone.patches import PATCH


@dataclass(frozen=True, kw_only=True)
class DepthHeadConfig:
    """layers: the backbone layers read, shallow to deep; None spaces them as VGGT does (4, 11, 17, 23 of 24).

    channels: of the four feature maps. features: channels of the fused map. last: channels before the depth.
    """

    layers: tuple[int, int, int, int] | None = None
    channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    features: int = 256
    last: int = 32

    def layers_of(self, depth: int) -> tuple[int, ...]:
        """The layers to read from a backbone of `depth` layers."""
        return self.layers or tuple(math.ceil(count * depth / 24) - 1 for count in (5, 12, 18, 24))

    def build(self, width: int) -> DepthHead:
        """`width` is that of the patch tokens: twice the backbone's."""
        return DepthHead(self, width)


class DepthHead(nn.Module):
    """From the patch tokens of four layers to depth and confidence."""

    def __init__(self, config: DepthHeadConfig, width: int) -> None:
        super().__init__()
        a, b, _, d = config.channels
        self.norm = nn.LayerNorm(width)
        self.projects = nn.ModuleList(nn.Conv2d(width, channels, kernel_size=1) for channels in config.channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(a, a, kernel_size=4, stride=4),
                nn.ConvTranspose2d(b, b, kernel_size=2, stride=2),
                nn.Identity(),
                nn.Conv2d(d, d, kernel_size=3, stride=2, padding=1),
            ]
        )
        self.scratch = Fusion(config)

    def forward(self, tokens: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Tokens of four layers, [N, K, width] each, of images of `size` (H, W) → depth and confidence, [N, H, W]."""
        height, width = size
        maps = []
        for x, project, resize in zip(tokens, self.projects, self.resize_layers, strict=True):
            x = self.norm(x.to(self.norm.weight.dtype)).transpose(1, 2)
            x = project(x.unflatten(2, (height // PATCH, width // PATCH)))
            maps.append(resize(add_position(x, width / height)))
        x = functional.interpolate(self.scratch(maps), size=size, mode="bilinear", align_corners=True)
        depth, confidence = self.scratch.output_conv2(add_position(x, width / height)).unbind(1)
        return depth.exp(), 1 + confidence.exp()


class Fusion(nn.Module):
    """The four maps fused from coarse to fine."""

    def __init__(self, config: DepthHeadConfig) -> None:
        super().__init__()
        features = config.features

        def narrow(channels: int) -> nn.Conv2d:
            return nn.Conv2d(channels, features, kernel_size=3, padding=1, bias=False)

        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = map(narrow, config.channels)
        self.refinenet1 = FusionBlock(features)
        self.refinenet2 = FusionBlock(features)
        self.refinenet3 = FusionBlock(features)
        self.refinenet4 = FusionBlock(features, coarsest=True)
        self.output_conv1 = nn.Conv2d(features, features // 2, kernel_size=3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, config.last, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(config.last, 2, kernel_size=1),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps, fine to coarse → [N, features / 2, …] at twice the finest map's size."""
        first, second, third, fourth = maps
        first, second = self.layer1_rn(first), self.layer2_rn(second)
        third, fourth = self.layer3_rn(third), self.layer4_rn(fourth)
        height, width = _size(first)
        fused = self.refinenet4(None, fourth, _size(third))
        fused = self.refinenet3(fused, third, _size(second))
        fused = self.refinenet2(fused, second, (height, width))
        fused = self.refinenet1(fused, first, (2 * height, 2 * width))
        return self.output_conv1(fused)


class FusionBlock(nn.Module):
    """Adds a finer map to what came from the coarser ones, refines the sum and resizes it."""

    def __init__(self, features: int, *, coarsest: bool = False) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, kernel_size=1)
        self.resConfUnit1 = None if coarsest else ResidualUnit(features)
        self.resConfUnit2 = ResidualUnit(features)

    def forward(self, coarse: Tensor | None, fine: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps [N, features, …] → the fused map at `size`; the coarsest block gets no coarser map."""
        if coarse is not None and self.resConfUnit1 is not None:
            fine = coarse + self.resConfUnit1(fine)
        resized = functional.interpolate(self.resConfUnit2(fine), size=size, mode="bilinear", align_corners=True)
        return self.out_conv(resized)


class ResidualUnit(nn.Module):
    """relu(x) + conv(relu(conv(relu(x)))).

    The public code means to add x, but its first ReLU works in place: the weights were trained with relu(x).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(features, features, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, features, h, w], same shape."""
        x = functional.relu(x)
        return x + self.conv2(functional.relu(self.conv1(x)))


def add_position(x: Tensor, aspect: float) -> Tensor:
    """x [N, C, h, w] plus 0.1 times a sine and cosine embedding of each pixel's place in an image of w : h `aspect`.

    Half of the channels tell the column, half the row. Coordinates are centered and divided by half the diagonal.
    """
    _, channels, height, width = x.shape
    diagonal = math.hypot(aspect, 1.0)
    column = _embed(_centers(width, aspect / diagonal, x.device), channels // 2)[:, None, :].expand(-1, height, -1)
    row = _embed(_centers(height, 1.0 / diagonal, x.device), channels // 2)[:, :, None].expand(-1, -1, width)
    return x + 0.1 * torch.cat([column, row]).to(x.dtype)


def _centers(count: int, span: float, device: torch.device) -> Tensor:
    """Centers of `count` pixels that cover [−span, span]."""
    outermost = span * (count - 1) / count
    return torch.linspace(-outermost, outermost, count, device=device)


def _embed(positions: Tensor, channels: int) -> Tensor:
    """Sines, then cosines, of positions [n] at frequencies falling from 1 to 1/100 → [channels, n]."""
    frequencies = 100.0 ** -(torch.arange(channels // 2, device=positions.device) / (channels / 2))
    angles = frequencies[:, None] * positions
    return torch.cat([angles.sin(), angles.cos()])


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]
