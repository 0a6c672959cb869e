"""VGGT's camera head (equation 5): the cameras, refined in a few rounds from the views' camera tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vga_policy.model.backbone.attention import Block, Mlp

ENCODING = 9  # translation 3, quaternion 4, fields of view 2 (vga_policy.model.geometry.pose)


@dataclass(frozen=True, kw_only=True)
class CameraHeadConfig:
    """depth: layers of the trunk. heads: attention heads of the trunk. rounds: refinements of the estimate."""

    depth: int = 4
    heads: int = 16
    rounds: int = 4

    def build(self, width: int) -> CameraHead:
        """`width` is that of the camera tokens: twice the backbone's."""
        return CameraHead(self, width)


class CameraHead(nn.Module):
    """Each round modulates the camera tokens by the estimate so far and adds the correction they then give."""

    def __init__(self, config: CameraHeadConfig, width: int) -> None:
        super().__init__()
        self.rounds = config.rounds
        self.token_norm = nn.LayerNorm(width)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, ENCODING))
        self.embed_pose = nn.Linear(ENCODING, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.trunk = nn.Sequential(*(Block(width, config.heads) for _ in range(config.depth)))
        self.trunk_norm = nn.LayerNorm(width)
        self.pose_branch = Mlp(width, width // 2, ENCODING)
        # Starts, all rounds together, at no rotation and fields of view of 1 rad: one that starts below 0 would stay
        # there, for its ReLU has no slope.
        nn.init.zeros_(self.pose_branch.fc2.weight)
        nn.init.zeros_(self.pose_branch.fc2.bias)
        nn.init.constant_(self.pose_branch.fc2.bias[6:], 1 / config.rounds)

    def forward(self, camera_tokens: Tensor) -> list[Tensor]:
        """Camera tokens [B, S, width] → the encoding [B, S, 9] after every round; the last is the prediction.

        The trunk attends across the views of a sample.
        """
        tokens = self.token_norm(camera_tokens.to(self.token_norm.weight.dtype))
        raw, given = torch.zeros_like(self.empty_pose_tokens), self.empty_pose_tokens
        rounds = []
        for _ in range(self.rounds):
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(given)).chunk(3, dim=-1)
            modulated = tokens + gate * (
                functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-6) * (1 + scale) + shift
            )
            raw = raw + self.pose_branch(self.trunk_norm(self.trunk(modulated)))
            rounds.append(torch.cat([raw[..., :7], functional.relu(raw[..., 7:])], dim=-1))
            # Each round learns from its own error alone.
            raw = given = raw.detach()
        return rounds
