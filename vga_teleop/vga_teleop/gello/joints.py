"""From servo positions to joint angles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from vga_policy.contract.cell import ARM_JOINTS, Cell, Leader

Vector = NDArray[np.float64]

TICKS = 4096  # a turn
TURN = 2 * np.pi


class LeaderPose(NamedTuple):
    """q: the follower's joint angles [7] that the leader shows, rad. width: gripper opening asked for, m."""

    q: Vector
    width: float


class Conversion:
    """Turns servo positions [8] into the pose they mean, by the cell file's offsets, signs and gripper range.

    A servo that lost its power has forgotten how many turns it had made. After a `reset` each joint is therefore taken
    for the angle nearest to the middle of its range: the arm's limits are less than a turn apart. From then on it is
    taken for the one nearest to where it was last, so that it may be turned beyond its limits.
    """

    def __init__(self, cell: Cell, leader: Leader) -> None:
        limits = cell.arm.limits
        self._closed, self._open, self._max_width = leader.gripper_closed, leader.gripper_open, cell.gripper.max_width
        middle = (np.array(limits.lower) + np.array(limits.upper)) / 2
        self._middle = np.append(middle, (self._closed + self._open) / 2)
        self._offsets, self._signs = np.array([*leader.offsets, 0.0]), np.array([*leader.signs, 1])
        self.reset()

    def reset(self) -> None:
        """Forgets on which turns the servos are: they may have been without power."""
        self._near = self._middle

    def __call__(self, ticks: NDArray[np.int64]) -> LeaderPose:
        """The pose that these positions mean."""
        angles = (angle(ticks) - self._offsets) * self._signs
        self._near = angles + TURN * np.round((self._near - angles) / TURN)
        share = (self._near[ARM_JOINTS] - self._closed) / (self._open - self._closed)
        return LeaderPose(self._near[:ARM_JOINTS], float(np.clip(share, 0.0, 1.0)) * self._max_width)


def angle(ticks: NDArray[np.int64]) -> Vector:
    """Servo angles in rad."""
    return np.asarray(ticks * (TURN / TICKS), dtype=np.float64)
