"""How a model is trained: where its weights start, which of them move, and what the loss is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Strategy = Literal["lora", "full"]


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights and constants of the objective.

    action, camera, depth: of the three terms; equation 7 gives none, so all are 1 (VGGT trains with camera 5, depth 1).
    keyframe: of where the arm next takes hold or lets go (vga_policy.objective.keyframe); not the paper's.
    translation, rotation, field_of_view: of the camera term's parts, VGGT's.
    huber: where the camera error turns from quadratic to linear; the paper names a Huber loss without it.
    stage_decay: weight of a refinement relative to the next, VGGT's.
    alpha: weight of the log confidence, VGGT's.
    kept: share of the smallest pixel errors that count; VGGT drops the rest as faults of the labels.
    metric: keep lengths in meters (vga_policy.model.geometry.scene).
    """

    action: float = 1.0
    camera: float = 1.0
    depth: float = 1.0
    keyframe: float = 0.0
    translation: float = 1.0
    rotation: float = 1.0
    field_of_view: float = 0.5
    huber: float = 0.1
    stage_decay: float = 0.6
    alpha: float = 0.2
    kept: float = 0.98
    metric: bool = True


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Defaults are the paper's.

    initialization: `vggt` loads the public checkpoint into backbone and 3D heads.
    strategy: `lora` trains low-rank updates of the backbone's attention and everything that is new; `full` everything.
    rank: of the updates (appendix A.1).
    joint: cameras and depth are objectives too (equation 7).
    """

    initialization: Literal["vggt", "random"] = "vggt"
    strategy: Strategy = "lora"
    rank: int = 64
    joint: bool = True
    losses: LossConfig = field(default_factory=LossConfig)
