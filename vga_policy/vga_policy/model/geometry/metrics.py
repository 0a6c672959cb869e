"""How far predicted geometry is from the truth, in figures that people read."""

from __future__ import annotations

import torch
from torch import Tensor

from vga_policy.model.geometry.pose import quaternion_to_rotation


def relative_depth_error(predicted: Tensor, depth: Tensor, mask: Tensor) -> Tensor:
    """AbsRel: mean of |predicted - depth| / depth over the known pixels of each sample; all [B, ...] → [B]."""
    error = torch.where(mask, (predicted - depth).abs() / depth.clamp(min=1e-3), 0.0)
    return error.flatten(1).sum(dim=1) / mask.flatten(1).sum(dim=1).clamp(min=1)


def rotation_error(predicted: Tensor, cameras: Tensor) -> Tensor:
    """Angle between predicted and true orientation, degrees; camera encodings [..., 9] → [...]."""
    turn = quaternion_to_rotation(predicted[..., 3:7]).transpose(-1, -2) @ quaternion_to_rotation(cameras[..., 3:7])
    # Through the sine of the half angle: the arc cosine of the trace is blunt where errors are small.
    half_sine = (turn - torch.eye(3, device=turn.device)).flatten(-2).norm(dim=-1) / 8**0.5
    return torch.rad2deg(2 * torch.asin(half_sine.clamp(max=1.0)))


def translation_error(predicted: Tensor, cameras: Tensor) -> Tensor:
    """Distance between predicted and true camera centers, in the world's unit; camera encodings [..., 9] → [...]."""
    return (_center(predicted) - _center(cameras)).norm(dim=-1)


def _center(encoding: Tensor) -> Tensor:
    rotation = quaternion_to_rotation(encoding[..., 3:7])
    return -(rotation.transpose(-1, -2) @ encoding[..., :3, None])[..., 0]
