"""Small models with weights made from their names, the same on every machine."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from vga_policy.model.backbone.aggregator import AggregatorConfig
from vga_policy.model.backbone.dinov2 import DinoV2Config
from vga_policy.model.heads.action_head import ActionHeadConfig
from vga_policy.model.heads.camera_head import CameraHeadConfig
from vga_policy.model.heads.depth_head import DepthHeadConfig
from vga_policy.model.vga import VGAConfig
from vga_policy.model.vggt import VGGTConfig

TINY_VGGT = VGGTConfig(
    aggregator=AggregatorConfig(width=128, depth=8, heads=2, vision=DinoV2Config(width=128, depth=3, heads=2, grid=5)),
    camera_head=CameraHeadConfig(depth=2, heads=16),
    depth_head=DepthHeadConfig(channels=(16, 32, 48, 64), features=32, last=8),
)


def seeded_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Values drawn from a seed of the name, of a size that keeps activations near one."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    if len(shape) > 1:
        values /= np.sqrt(np.prod(shape[1:]))
    elif name.endswith("gamma"):
        values = 0.5 + 0.1 * values
    else:
        values = 0.1 * values + float(name.endswith("weight"))
    return torch.from_numpy(values.astype(np.float32))


def seeded_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A state dict for `model`, which may sit on the meta device."""
    return {name: seeded_tensor(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}


def seeded_images(*shape: int) -> torch.Tensor:
    """Images [B, S, 3, H, W] in [0, 1]."""
    return torch.from_numpy(np.random.default_rng(len(shape)).random(shape, dtype=np.float32))


TINY_VGA = VGAConfig(
    image_size=42,
    backbone=AggregatorConfig(width=32, depth=4, heads=2, vision=DinoV2Config(width=32, depth=1, heads=2, grid=3)),
    language_width=12,
    language_projector=(24, 24),
    action_head=ActionHeadConfig(layers=2, heads=2),
    camera_head=CameraHeadConfig(depth=1, heads=2),
    depth_head=DepthHeadConfig(channels=(4, 8, 8, 8), features=8, last=4),
)


def seeded_inputs(batch: int = 2, views: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, language and proprioception for TINY_VGA."""
    side = TINY_VGA.image_size
    return (
        seeded_images(batch, views, 3, side, side),
        seeded_tensor("language", (batch, TINY_VGA.language_width)),
        seeded_tensor("proprioception", (batch, 8)),
    )
