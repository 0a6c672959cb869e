"""Labels of a scene in the frame the model predicts in: the first camera's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scene:
    """Cameras and depth of a batch of views.

    extrinsics [B, S, 3, 4], world to camera (OpenCV). intrinsics [B, S, 3, 3] in pixels; the first pixel's center is at
    (0, 0). depth [B, S, H, W] along the optical axis, with mask [B, S, H, W] where it is known.
    """

    extrinsics: Tensor
    intrinsics: Tensor
    depth: Tensor
    mask: Tensor


def in_first_camera(scene: Scene) -> Scene:
    """The same scene with the first view's camera frame as its world; units are kept."""
    rotation, translation = scene.extrinsics[..., :3], scene.extrinsics[..., 3:]
    first_rotation, first_translation = rotation[:, :1], translation[:, :1]
    relative = rotation @ first_rotation.transpose(-1, -2)
    extrinsics = torch.cat([relative, translation - relative @ first_translation], dim=-1)
    return replace(scene, extrinsics=extrinsics)


def normalize(scene: Scene, *, metric: bool) -> tuple[Scene, Tensor]:
    """The scene in its first camera's frame, and the length [B] its unit of length has in meters.

    VGGT measures in units of the mean distance of all known points from the first camera. Actions are metric, though,
    and the heads share their features: with `metric`, the default of a recipe, lengths stay meters. So they do in a
    sample without any known point.
    """
    scene = in_first_camera(scene)
    if metric:
        return scene, scene.depth.new_ones(len(scene.depth))
    distance = world_points(scene).norm(dim=-1)
    count = scene.mask.sum(dim=(1, 2, 3))
    mean = torch.where(scene.mask, distance, 0).sum(dim=(1, 2, 3)) / count.clamp(min=1)
    unit = torch.where(count > 0, mean, 1.0)
    extrinsics = torch.cat([scene.extrinsics[..., :3], scene.extrinsics[..., 3:] / unit.view(-1, 1, 1, 1)], dim=-1)
    return replace(scene, extrinsics=extrinsics, depth=scene.depth / unit.view(-1, 1, 1, 1)), unit


def world_points(scene: Scene) -> Tensor:
    """The point of every pixel in the world's frame, [B, S, H, W, 3]."""
    height, width = scene.depth.shape[-2:]
    v = torch.arange(height, device=scene.depth.device, dtype=scene.depth.dtype)
    u = torch.arange(width, device=scene.depth.device, dtype=scene.depth.dtype)
    pixels = torch.stack([u.expand(height, -1), v[:, None].expand(-1, width), torch.ones_like(u).expand(height, -1)])
    rays = torch.einsum("bsij,jhw->bshwi", torch.linalg.inv(scene.intrinsics), pixels)
    in_camera = rays * scene.depth[..., None]
    # The inverse of [R | t] takes p to Rᵀ (p − t).
    return torch.einsum(
        "bsji,bshwj->bshwi", scene.extrinsics[..., :3], in_camera - scene.extrinsics[:, :, None, None, :, 3]
    )
