"""VGGT: images to cameras and depth. The 3D world model that the policy is built on."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vga_policy.model.backbone.aggregator import AggregatorConfig, Features
from vga_policy.model.backbone.patches import PATCH
from vga_policy.model.heads.camera_head import CameraHead, CameraHeadConfig
from vga_policy.model.heads.depth_head import DepthHead, DepthHeadConfig


class InputError(ValueError):
    """An input the model cannot take. The message names it, what is wrong and what is expected."""


@dataclass(frozen=True, kw_only=True)
class VGGTConfig:
    """The defaults are the public VGGT-1B's."""

    aggregator: AggregatorConfig = field(default_factory=AggregatorConfig)
    camera_head: CameraHeadConfig = field(default_factory=CameraHeadConfig)
    depth_head: DepthHeadConfig = field(default_factory=DepthHeadConfig)

    def build(self) -> VGGT:
        """The model, initialized at random."""
        return VGGT(self)


class VGGT(nn.Module):
    """Aggregator, camera head and depth head under the public checkpoint's names."""

    def __init__(self, config: VGGTConfig) -> None:
        super().__init__()
        self.config = config
        width = 2 * config.aggregator.width
        self.aggregator = config.aggregator.build()
        self.camera_head = config.camera_head.build(width)
        self.depth_head = config.depth_head.build(width)
        self.depth_layers = config.depth_head.layers_of(config.aggregator.depth)

    @torch.no_grad()
    def geometry(self, images: Tensor) -> dict[str, Tensor]:
        """Cameras and depth of images [B, S, 3, H, W] in [0, 1], H and W multiples of 14.

        Returns pose_enc [B, S, 9] (vga_policy.model.geometry.pose; the world is the first view's camera frame),
        depth [B, S, H, W, 1] and depth_conf [B, S, H, W]. Raises InputError.
        """
        check_images(images)
        if not images.isfinite().all():
            raise InputError("images: hold NaN or infinite values")
        features = self.aggregator(images)
        depth, confidence = predict_depth(self.depth_head, features, self.depth_layers, images)
        return {
            "pose_enc": predict_cameras(self.camera_head, features)[-1],
            "depth": depth[..., None],
            "depth_conf": confidence,
        }


def predict_cameras(head: CameraHead, features: Features) -> list[Tensor]:
    """Camera encodings [B, S, 9] after each refinement. The head runs in its own precision, also under autocast."""
    tokens = features.camera_tokens()
    with torch.autocast(tokens.device.type, enabled=False):
        return head(tokens)


def predict_depth(
    head: DepthHead, features: Features, layers: tuple[int, ...], images: Tensor
) -> tuple[Tensor, Tensor]:
    """Depth and confidence of every pixel, [B, S, H, W] each; the head runs in its own precision as well."""
    size = (images.shape[-2], images.shape[-1])
    tokens = [features.patch_tokens(layer).flatten(0, 1) for layer in layers]
    with torch.autocast(images.device.type, enabled=False):
        depth, confidence = head(tokens, size)
    return depth.unflatten(0, images.shape[:2]), confidence.unflatten(0, images.shape[:2])


def check_images(images: Tensor) -> None:
    """Raises InputError unless images are float [B, S, 3, H, W] with H and W multiples of 14."""
    if images.ndim != 5 or images.shape[2] != 3 or not images.is_floating_point():
        raise InputError(f"images: expected float [B, S, 3, H, W], got {images.dtype} {list(images.shape)}")
    height, width = images.shape[-2:]
    if height % PATCH or width % PATCH or not images.numel():
        raise InputError(f"images: height and width must be multiples of {PATCH} and not empty, got {height} x {width}")
