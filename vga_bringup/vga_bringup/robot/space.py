"""Where the arm may be: the workspace of its tool centre point, and the boxes that all of it keeps out of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vga_policy.contract.cell import Cell

from vga_bringup.robot.kinematics import Kinematics, segments_touch_box

Array = NDArray[np.float64]

RESERVE = 0.004  # m kept from the walls, for ways that bulge between two checked postures
CLOSE = 0.001  # m, how closely `nearest` goes to the wall
STEPS = 4  # of Gauss and Newton; they converge quadratically from wherever a person can hold a leader
DAMPING = 1e-4  # m^2, so that a stretched arm is not sent far for a last millimetre
PROBE = 1e-6  # rad


class Space:
    """The cell's workspace, less RESERVE, and its keep-out boxes, for joint angles q [..., 7] (rad)."""

    def __init__(self, cell: Cell) -> None:
        self._kinematics = Kinematics(cell.arm)
        self._max_width = cell.gripper.max_width
        low, high = np.array(cell.workspace.min), np.array(cell.workspace.max)
        reserve = np.minimum(RESERVE, (high - low) / 4)
        self._low, self._high = low + reserve, high - reserve
        self._boxes = [
            (np.array(box.min) - reserve, np.array(box.max) + reserve)
            for box in cell.keep_out
            for reserve in (0.0, RESERVE)
        ]

    def outside(self, q: Array) -> Array:
        """How far the tool centre point is outside the workspace, m: [...]."""
        position = self._kinematics.tcp(q).position
        return np.maximum(self._low - position, position - self._high).max(axis=-1).clip(min=0.0)

    def intrusion(self, q: Array) -> NDArray[np.int_]:
        """How many boxes any part of the arm is in, counting each twice, once with RESERVE around it: [...]."""
        count = np.zeros(q.shape[:-1], dtype=int)
        if self._boxes:
            starts, ends = self._kinematics.skeleton(q, self._max_width)
            for low, high in self._boxes:
                count += segments_touch_box(starts, ends, low, high).any(axis=-1)
        return count

    def nearest(self, q: Array) -> Array:
        """`q` [7] when its tool centre point is in the workspace, else a posture close to it where it just is."""
        for _ in range(STEPS):
            # The position and its derivatives in one go.
            position = self._kinematics.tcp(q + PROBE * _PROBES).position
            correction = np.clip(position[0], self._low, self._high) - position[0]
            if (np.abs(correction) <= CLOSE).all():
                break
            jacobian = (position[1:] - position[0]).T / PROBE
            q = q + jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(3), correction)
        return q


_PROBES = np.vstack((np.zeros(7), np.eye(7)))
