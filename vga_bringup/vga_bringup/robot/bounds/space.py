"""Where the arm may be: the workspace of its tool center point, boxes that all of it keeps out of, and itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell

from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.robot.bounds.self_collision import SelfCollision

Array = NDArray[np.float64]

RESERVE = 0.004  # m kept from walls and boxes, for ways that bulge between two checked postures
CLOSE = 0.001  # m, how closely `nearest` goes to the wall
STEPS = 4  # of Gauss and Newton; they converge quadratically from wherever a person can hold a leader
DAMPING = 1e-4  # m^2, so that a stretched arm is not sent far for a last millimeter
PROBE = 1e-6  # rad


class Place(NamedTuple):
    """Where the arm is in some postures [...].

    tcp: the tool center point [..., 3], m. outside: how far that is outside the workspace, m [...].
    touching: which of the arm's capsules reach into which keep-out box [..., B, C].
    distances: between the pairs of parts that must not meet, m [..., P].
    """

    tcp: Array
    outside: Array
    touching: NDArray[np.bool_]
    distances: Array

    @property
    def intrusion(self) -> NDArray[np.int_]:
        """How many boxes any part of the arm is in [...]."""
        return np.asarray(self.touching.any(axis=-1).sum(axis=-1))


class Space:
    """The cell's workspace and keep-out boxes, for joint angles q [..., 7] (rad).

    reserve: m the workspace is smaller by. With one, each box counts twice, the second time larger by it.
    """

    def __init__(self, cell: Cell, reserve: float = 0.0) -> None:
        self._kinematics = Kinematics(cell.arm)
        self.parts = SelfCollision(cell)
        low, high = np.array(cell.workspace.min), np.array(cell.workspace.max)
        margin = np.minimum(reserve, (high - low) / 4)
        self.low, self.high = low + margin, high - margin
        self.boxes = [
            (box.name or "unnamed", np.array(box.min) - extra, np.array(box.max) + extra)
            for box in cell.keep_out
            for extra in ((0.0, reserve) if reserve else (0.0,))
        ]

    def look(self, q: Array) -> Place:
        """Where the arm is at `q`."""
        links = self._kinematics.links(q)
        tcp, capsules = self._kinematics.tcp_of(links).position, self.parts.place(links)
        touching = np.zeros((*q.shape[:-1], len(self.boxes), len(self.parts.parts)), dtype=bool)
        for box, (_, low, high) in enumerate(self.boxes):
            touching[..., box, :] = self.parts.touch_box(capsules, low, high)
            touching[..., box, -1] |= ((tcp >= low) & (tcp <= high)).all(axis=-1)  # a tool longer than the hand
        distances = self.parts.distances(capsules, within=float(self.parts.clearance.max()))
        return Place(tcp, self._outside(tcp), touching, distances)

    def outside(self, q: Array) -> Array:
        """How far the tool center point is outside the workspace, m: [...]."""
        return self._outside(self._kinematics.tcp(q).position)

    def nearest(self, q: Array) -> Array:
        """`q` [7] when its tool center point is in the workspace, else a posture close to it where it just is."""
        for _ in range(STEPS):
            # The position and its derivatives in one go.
            position = self._kinematics.tcp(q + PROBE * _PROBES).position
            correction = np.clip(position[0], self.low, self.high) - position[0]
            if (np.abs(correction) <= CLOSE).all():
                break
            jacobian = (position[1:] - position[0]).T / PROBE
            q = q + jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(3), correction)
        return q

    def _outside(self, tcp: Array) -> Array:
        return np.asarray(np.maximum(self.low - tcp, tcp - self.high).max(axis=-1).clip(min=0.0))


_PROBES = np.vstack((np.zeros(7), np.eye(7)))
