"""Observation and action chunk: what crosses the policy's border, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PROPRIOCEPTION = 8  # 7 joint angles (rad) and the gripper's total opening (m)


@dataclass(frozen=True)
class Observation:
    """What the robot knew at t_obs.

    stamp_ns: t_obs, capture time of the oldest image in `images`, ns of the system clock.
    images: one uint8 RGB image [H, W, 3] a view slot, in slot order; sizes may differ between views.
    image_stamps_ns: capture time of each image.
    proprioception: float64 [8], joint state interpolated at t_obs: 7 joint angles (rad), gripper opening (m).
    instruction: what to do, in words.
    """

    stamp_ns: int
    images: tuple[NDArray[np.uint8], ...]
    image_stamps_ns: tuple[int, ...]
    proprioception: NDArray[np.float64]
    instruction: str


@dataclass(frozen=True)
class ActionChunk:
    """Targets for the next H control steps; step k is due at t_obs + (k+1) dt.

    joints: float64 [H, 7], rad. gripper_width: float64 [H], total opening, m.
    """

    joints: NDArray[np.float64]
    gripper_width: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.joints.ndim != 2 or self.gripper_width.shape != self.joints.shape[:1]:
            raise ValueError(
                f"joints [H, J] and gripper_width [H] expected, got {self.joints.shape} and {self.gripper_width.shape}"
            )

    @property
    def horizon(self) -> int:
        """Number of steps H."""
        return len(self.joints)
