"""Inverse kinematics: which joint angles bring the hand to a pose, near a posture that suits the arm."""

from __future__ import annotations

import numpy as np
from vga_policy.cell.schema import Arm

from vga_bringup.robot.bounds.kinematics import Array, Kinematics, Pose

DAMPING = 0.02  # keeps the steps bounded near singular postures, at the cost of a slower approach there
NULL_SPACE_GAIN = 0.1  # share of the way to the preferred posture that a step goes, without moving the hand
LARGEST_STEP = 0.2  # rad
PROBE = 1e-6  # rad
CLOSE = 2e-4  # m and rad: near enough for a hand
STEPS = 8


class InverseKinematics:
    """Damped least squares within the joint limits, for one arm. `posture` [7]: joint angles to stay near, rad."""

    def __init__(self, arm: Arm, posture: Array) -> None:
        self._kinematics = Kinematics(arm)
        self._posture = posture
        self._lower, self._upper = np.array(arm.limits.lower), np.array(arm.limits.upper)
        self._probes = np.vstack((np.zeros(7), PROBE * np.eye(7)))

    def pose(self, q: Array) -> Pose:
        """Where the hand is at `q` [7]."""
        return self._kinematics.tcp(q)

    def solve(self, q: Array, goal: Pose) -> Array:
        """Joint angles [7] that bring the hand to `goal`, found from `q`. The closest ones met where none do."""
        for _ in range(STEPS):
            error, jacobian = self._linearized(q, goal)
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + DAMPING**2 * np.eye(6))
            aside = NULL_SPACE_GAIN * (self._posture - q)
            step = inverse @ error + aside - inverse @ (jacobian @ aside)
            q = np.clip(q + step / max(1.0, np.abs(step).max() / LARGEST_STEP), self._lower, self._upper)
            if np.abs(error).max() < CLOSE:
                break
        return q

    def _linearized(self, q: Array, goal: Pose) -> tuple[Array, Array]:
        """What is missing to the goal [6] (m, rad), and the Jacobian [6, 7] of the hand's pose."""
        poses = self._kinematics.tcp(q + self._probes)
        here, beside = Pose(poses.rotation[0], poses.position[0]), Pose(poses.rotation[1:], poses.position[1:])
        turns = small_rotation(beside.rotation @ here.rotation.T)
        jacobian = np.concatenate((beside.position - here.position, turns), axis=1).T / PROBE
        error = np.concatenate((goal.position - here.position, rotation_vector(goal.rotation @ here.rotation.T)))
        return error, jacobian


def small_rotation(rotation: Array) -> Array:
    """Rotation vectors [..., 3] of rotations [..., 3, 3] by small angles."""
    skew = (rotation - np.swapaxes(rotation, -1, -2)) / 2
    return np.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), axis=-1)


def rotation_vector(rotation: Array) -> Array:
    """Rotation vector [3] (axis times angle, rad) of a rotation [3, 3] by less than half a turn."""
    vector = small_rotation(rotation)
    sine = float(np.linalg.norm(vector))
    cosine = (np.trace(rotation) - 1) / 2
    return vector if sine < 1e-9 else vector * (np.arctan2(sine, cosine) / sine)


def from_rotation_vector(vector: Array) -> Array:
    """Rotation [3, 3] of a rotation vector [3] (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-9:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
