"""From servo positions to joint angles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import ARM_JOINTS, Cell, Leader

Vector = NDArray[np.float64]

TICKS = 4096  # a turn
TURN = 2 * np.pi
FASTEST = 0.5  # rad by which a hand may turn a joint between two readings; more is no hand's doing


class LeaderPose(NamedTuple):
    """q: the follower's joint angles [7] that the leader shows, rad. width: gripper opening asked for, m."""

    q: Vector
    width: float


class Conversion:
    """Turns servo positions [8] into the pose they mean, by the cell file's offsets, signs and gripper range.

    A servo that lost its power has forgotten how many turns it had made. Until a joint has been seen within the arm's
    limits, which are less than a turn apart, it is therefore taken for the angle nearest to their middle; from then on
    for the one nearest to where it was last, so that it may be turned beyond its limits.
    """

    def __init__(self, cell: Cell, leader: Leader) -> None:
        limits = cell.arm.limits
        ends = sorted((leader.gripper_closed, leader.gripper_open))
        self._lower, self._upper = np.array([*limits.lower, ends[0]]), np.array([*limits.upper, ends[1]])
        self._middle = (self._lower + self._upper) / 2
        self._closed, self._open, self._max_width = leader.gripper_closed, leader.gripper_open, cell.gripper.max_width
        self._offsets, self._signs = np.array([*leader.offsets, 0.0]), np.array([*leader.signs, 1])
        self.reset()

    def reset(self) -> None:
        """Forgets on which turns the servos are: they may have been without power."""
        self._known = np.zeros(len(self._middle), dtype=bool)
        self._last = self._middle

    def __call__(self, ticks: NDArray[np.int64]) -> LeaderPose:
        """The pose that these positions mean."""
        shown = (angle(ticks) - self._offsets) * self._signs
        near = _on_turn(shown, self._last)
        self._known &= np.abs(near - self._last) < FASTEST
        self._last = np.where(self._known, near, _on_turn(shown, self._middle))
        self._known |= (self._last >= self._lower) & (self._last <= self._upper)
        share = (self._last[ARM_JOINTS] - self._closed) / (self._open - self._closed)
        return LeaderPose(self._last[:ARM_JOINTS], float(np.clip(share, 0.0, 1.0)) * self._max_width)


def _on_turn(angles: Vector, near: Vector) -> Vector:
    """The same angles, each on the turn nearest to `near`."""
    return angles + TURN * np.round((near - angles) / TURN)


def angle(ticks: NDArray[np.int64]) -> Vector:
    """Servo angles in rad."""
    return np.asarray(ticks * (TURN / TICKS), dtype=np.float64)
