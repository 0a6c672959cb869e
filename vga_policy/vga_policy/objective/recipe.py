"""How a model is trained: where its weights start, and which of them move."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vga_policy.objective.losses import LossConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Defaults are the paper's.

    initialisation: `vggt` loads the public checkpoint into backbone and 3D heads.
    strategy: `lora` trains low-rank updates of the backbone's attention and everything that is new; `full` everything.
    rank: of the updates (appendix A.1).
    joint: cameras and depth are objectives too (equation 7).
    """

    initialisation: Literal["vggt", "random"] = "vggt"
    strategy: Literal["lora", "full"] = "lora"
    rank: int = 64
    joint: bool = True
    losses: LossConfig = field(default_factory=LossConfig)
