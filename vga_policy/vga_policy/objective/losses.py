"""The training objective (equation 7): actions, cameras and depth, each over what has a label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vga_policy.model.vga import Prediction
from vga_policy.objective.recipe import LossConfig


@dataclass(frozen=True)
class TrainingLabels:
    """What a batch should have been predicted as. Masks are True where there is a label; elsewhere it may be anything.

    actions [B, horizon, actions], normalized, with action_mask [B, horizon]. cameras [B, S, 9] with camera_mask [B, S].
    depth [B, S, H, W] with depth_mask of the same shape. Cameras and depth share one scale
    (vga_policy.model.geometry.scene).
    """

    actions: Tensor
    action_mask: Tensor
    cameras: Tensor
    camera_mask: Tensor
    depth: Tensor
    depth_mask: Tensor


def objective(prediction: Prediction, labels: TrainingLabels, config: LossConfig) -> dict[str, Tensor]:
    """The terms `action`, `camera`, `depth` and their weighted sum `total` (equation 7)."""
    terms = {
        "action": action_loss(prediction.actions, labels.actions, labels.action_mask),
        "camera": camera_loss(prediction.cameras, labels.cameras, labels.camera_mask, config),
        "depth": depth_loss(prediction.depth, prediction.confidence, labels.depth, labels.depth_mask, config),
    }
    total = config.action * terms["action"] + config.camera * terms["camera"] + config.depth * terms["depth"]
    return {**terms, "total": total}


def action_loss(predicted: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error over the chunk's labeled steps."""
    actions = torch.where(mask[..., None], actions, 0)
    return masked_mean((predicted - actions).abs().mean(dim=-1), mask)


def camera_loss(rounds: list[Tensor], cameras: Tensor, mask: Tensor, config: LossConfig) -> Tensor:
    """Huber loss of the encodings [B, S, 9] after every refinement, later ones weighted more.

    Divided by its threshold, so that it rises with slope 1 as VGGT's L1 does. Of a rotation's two quaternions the one
    nearer to what is predicted counts.
    """
    cameras = torch.where(mask[..., None], cameras, 0)
    total = cameras.new_zeros(())
    for index, predicted in enumerate(rounds):
        error = functional.smooth_l1_loss(predicted, _nearer(cameras, predicted), beta=config.huber, reduction="none")
        translation, rotation, field_of_view = (part.mean(dim=-1) for part in error.split([3, 4, 2], dim=-1))
        weighted = config.translation * translation + config.rotation * rotation + config.field_of_view * field_of_view
        total = total + config.stage_decay ** (len(rounds) - 1 - index) * masked_mean(weighted, mask)
    return total / len(rounds)


def _nearer(cameras: Tensor, predicted: Tensor) -> Tensor:
    """Encodings [..., 9] of the same cameras with each quaternion on the side of the predicted one.

    Labels have w >= 0, which tears the rotations apart at half a turn: a wrist camera and one that looks at it from the
    front are about that far from each other, and a head cannot learn to jump from q to -q there.
    """
    translation, quaternion, field_of_view = cameras.split([3, 4, 2], dim=-1)
    opposite = (quaternion * predicted[..., 3:7]).sum(dim=-1, keepdim=True) < 0
    return torch.cat([translation, torch.where(opposite, -quaternion, quaternion), field_of_view], dim=-1)


def depth_loss(predicted: Tensor, confidence: Tensor, depth: Tensor, mask: Tensor, config: LossConfig) -> Tensor:
    """Error weighted by the predicted confidence, plain error, and error of the gradient; all [B, S, H, W].

    The first is aleatoric uncertainty: a pixel may claim little confidence, at the price of its logarithm. The other
    two are in VGGT's training code, which made the public weights, without confidence.
    """
    depth = torch.where(mask, depth, 0)
    error = (predicted - depth).abs()
    uncertain = confidence * error - config.alpha * confidence.log()
    return (
        trimmed_mean(uncertain, mask, config.kept)
        + trimmed_mean(error, mask, config.kept)
        + gradient_loss(predicted - depth, mask)
    )


def gradient_loss(difference: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute x and y differences of the error [..., H, W] on grids of every 1st, 2nd, 4th and 8th pixel.

    A difference counts where both its pixels have a label.
    """
    total = difference.new_zeros(())
    for stride in (1, 2, 4, 8):
        d, m = difference[..., ::stride, ::stride], mask[..., ::stride, ::stride]
        in_x = masked_mean(d.diff(dim=-1).abs(), m[..., 1:] & m[..., :-1])
        in_y = masked_mean(d.diff(dim=-2).abs(), m[..., 1:, :] & m[..., :-1, :])
        total = total + in_x + in_y
    return total / 4


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where `mask` is True; 0 where it nowhere is, whatever the values hold there."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def trimmed_mean(values: Tensor, mask: Tensor, kept: float) -> Tensor:
    """masked_mean of the smallest share `kept` of the masked values."""
    count = mask.sum()
    if kept < 1:
        ordered = torch.where(mask, values.detach(), torch.inf).flatten().sort().values
        last = (kept * count).ceil().long().clamp(min=1) - 1
        mask = mask & (values.detach() <= ordered[last])
    return masked_mean(values, mask)
