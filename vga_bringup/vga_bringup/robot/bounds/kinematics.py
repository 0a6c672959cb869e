"""Forward kinematics of the FR3 with the Franka hand, vectorized over postures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Arm

Array = NDArray[np.float64]

# Modified Denavit-Hartenberg parameters (Craig): a (m) and alpha (rad) before each joint, d (m) along it.
A = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
ALPHA = (0.0, -np.pi / 2, np.pi / 2, np.pi / 2, -np.pi / 2, np.pi / 2, np.pi / 2)
D = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
FLANGE = 0.107  # m, from joint 7's origin along its axis
FINGERTIPS = 0.1034  # m, from the flange along the same axis
HAND_ANGLE = -np.pi / 4  # the hand is mounted turned about that axis; its fingers move along its y

# The frames of the arm's parts, in the order of Kinematics.links.
LINKS = (*(f"link{i}" for i in range(8)), "hand")


class Pose(NamedTuple):
    """Rotations [..., 3, 3] and positions [..., 3] (m) in the arm's base frame."""

    rotation: Array
    position: Array


class Kinematics:
    """Where the arm is, for joint angles q [..., 7] (rad), in its base frame."""

    def __init__(self, arm: Arm) -> None:
        self._twists = [rotation(roll=alpha) for alpha in ALPHA]
        self._offsets = [
            np.array((a, -d * np.sin(alpha), d * np.cos(alpha))) for a, alpha, d in zip(A, ALPHA, D, strict=True)
        ]
        self._mounting = rotation(yaw=HAND_ANGLE)
        self._end_effector = Pose(rotation(*arm.end_effector_rpy), np.array(arm.end_effector_xyz))

    def links(self, q: Array) -> Pose:
        """The frames of LINKS: rotations [..., L, 3, 3] and positions [..., L, 3]. What else is asked for follows."""
        rotations = np.empty((*q.shape[:-1], len(LINKS), 3, 3))
        positions = np.empty((*q.shape[:-1], len(LINKS), 3))
        rotations[..., 0, :, :], positions[..., 0, :] = np.eye(3), 0.0
        for i, (twist, offset) in enumerate(zip(self._twists, self._offsets, strict=True)):
            turn = rotations[..., i, :, :]
            rotations[..., i + 1, :, :] = turn @ (twist @ _about_z(q[..., i]))
            positions[..., i + 1, :] = positions[..., i, :] + turn @ offset
        rotations[..., -1, :, :] = rotations[..., -2, :, :] @ self._mounting
        positions[..., -1, :] = positions[..., -2, :] + FLANGE * rotations[..., -2, :, 2]
        return Pose(rotations, positions)

    def tcp(self, q: Array) -> Pose:
        """The tool center point: midway between the fingertips, displaced by the cell's end_effector_xyz and _rpy."""
        return self.tcp_of(self.links(q))

    def tcp_of(self, links: Pose) -> Pose:
        """The tool center point of an arm whose links are there."""
        hand, offset = links.rotation[..., -1, :, :], self._end_effector.position + np.array((0.0, 0.0, FINGERTIPS))
        return Pose(hand @ self._end_effector.rotation, links.position[..., -1, :] + hand @ offset)


def rotation(roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> Array:
    """Rotation matrix [3, 3] of roll about x, then pitch about y, then yaw about z, all fixed axes (rad)."""
    (cr, sr), (cp, sp) = (np.cos(roll), np.sin(roll)), (np.cos(pitch), np.sin(pitch))
    about_x = np.array(((1.0, 0.0, 0.0), (0.0, cr, -sr), (0.0, sr, cr)))
    about_y = np.array(((cp, 0.0, sp), (0.0, 1.0, 0.0), (-sp, 0.0, cp)))
    return _about_z(np.array(yaw)) @ about_y @ about_x


def _about_z(angle: Array) -> Array:
    """Rotation matrices [..., 3, 3] about z."""
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = np.cos(angle)
    matrix[..., 1, 0] = np.sin(angle)
    matrix[..., 0, 1] = -matrix[..., 1, 0]
    matrix[..., 2, 2] = 1.0
    return matrix
