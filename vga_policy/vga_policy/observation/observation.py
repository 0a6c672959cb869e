"""Observation and action chunk: what crosses the policy's border, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PROPRIOCEPTION = 8  # of a robot's cell: 7 joint angles (rad) and the gripper's total opening (m)


@dataclass(frozen=True)
class Observation:
    """What the robot knew at t_obs.

    stamp_ns: t_obs, capture time of the oldest image in `images`, ns of the system clock.
    images: one uint8 RGB image [H, W, 3] a view slot, in slot order; sizes may differ between views.
    image_stamps_ns: capture time of each image.
    proprioception: float64 [P], as the embodiment has it; of a robot's cell the joint state interpolated at t_obs: 7
    joint angles (rad), gripper opening (m).
    instruction: what to do, in words.
    """

    stamp_ns: int
    images: tuple[NDArray[np.uint8], ...]
    image_stamps_ns: tuple[int, ...]
    proprioception: NDArray[np.float64]
    instruction: str


@dataclass(frozen=True)
class ActionChunk:
    """What to do in the next H steps: values float64 [H, A], the numbers of a step being those of the embodiment.

    In a robot's cell step k is due at t_obs + (k+1) dt.
    """

    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise ValueError(f"values [H, A] expected, got {self.values.shape}")

    @classmethod
    def of_joints(cls, joints: NDArray[np.float64], gripper_width: NDArray[np.float64]) -> ActionChunk:
        """Of a robot's cell: joints [H, J], rad, and gripper_width [H], total opening, m."""
        if joints.ndim != 2 or gripper_width.shape != joints.shape[:1]:
            raise ValueError(
                f"joints [H, J] and gripper_width [H] expected, got {joints.shape} and {gripper_width.shape}"
            )
        return cls(np.column_stack([joints, gripper_width]))

    @property
    def joints(self) -> NDArray[np.float64]:
        """Of a robot's cell: [H, J], rad."""
        return np.ascontiguousarray(self.values[:, :-1])

    @property
    def gripper_width(self) -> NDArray[np.float64]:
        """Of a robot's cell: [H], total opening, m."""
        return np.ascontiguousarray(self.values[:, -1])

    @property
    def horizon(self) -> int:
        """Number of steps H."""
        return len(self.values)
