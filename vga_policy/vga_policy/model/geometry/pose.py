"""VGGT's camera encoding: translation (3), rotation quaternion (4, scalar last), fields of view (2: height, width).

Extrinsics [R | t] take world points to the camera's frame (OpenCV: x right, y down, z forward). The principal point is
taken to be the image's center. Fields of view are angles in radians; translations have the world's unit.
"""

from __future__ import annotations

import torch
from torch import Tensor


def encode_cameras(extrinsics: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """Extrinsics [..., 3, 4] and intrinsics [..., 3, 3] in pixels of images of `size` (H, W) → [..., 9]."""
    height, width = size
    fov_h = 2 * torch.atan(height / 2 / intrinsics[..., 1, 1])
    fov_w = 2 * torch.atan(width / 2 / intrinsics[..., 0, 0])
    quaternion = rotation_to_quaternion(extrinsics[..., :3, :3])
    return torch.cat([extrinsics[..., :3, 3], quaternion, torch.stack([fov_h, fov_w], dim=-1)], dim=-1)


def decode_cameras(encoding: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Encoding [..., 9] → extrinsics [..., 3, 4] and intrinsics [..., 3, 3] in pixels of images of `size` (H, W)."""
    height, width = size
    extrinsics = torch.cat([quaternion_to_rotation(encoding[..., 3:7]), encoding[..., :3, None]], dim=-1)
    fov_h, fov_w = encoding[..., 7:].unbind(-1)
    intrinsics = encoding.new_zeros(*encoding.shape[:-1], 3, 3)
    intrinsics[..., 0, 0] = width / 2 / torch.tan(fov_w / 2)
    intrinsics[..., 1, 1] = height / 2 / torch.tan(fov_h / 2)
    intrinsics[..., 0, 2] = width / 2
    intrinsics[..., 1, 2] = height / 2
    intrinsics[..., 2, 2] = 1
    return extrinsics, intrinsics


def quaternion_to_rotation(quaternion: Tensor) -> Tensor:
    """Quaternions [..., 4] (x, y, z, w) of any length but zero → rotation matrices [..., 3, 3]."""
    x, y, z, w = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def rotation_to_quaternion(rotation: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] → unit quaternions [..., 4] (x, y, z, w) with w ≥ 0.

    4 q qᵀ is linear in the matrix. Each of its rows is a multiple of q; the one with the largest diagonal entry is
    far from zero for every rotation.
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in rotation.unbind(-2))
    outer = (
        (1 + a - e - i, b + d, c + g, h - f),
        (b + d, 1 - a + e - i, f + h, c - g),
        (c + g, f + h, 1 - a - e + i, d - b),
        (h - f, c - g, d - b, 1 + a + e + i),
    )
    rows = torch.stack([torch.stack(row, dim=-1) for row in outer], dim=-2)
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    quaternion = row / row.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
