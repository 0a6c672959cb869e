"""franky-sim's arm with a hand that grips with a given force. franky-sim 1.0.4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from franky_sim.base_simulator import InnerRobotState
from franky_sim.constants import FRANKA_HAND_FORCE_LIMIT, FRANKA_HAND_MAX_WIDTH
from franky_sim.mujoco_simulator import MUJOCO_DEFAULT_KV, FrankaMujocoRobot
from numpy.typing import NDArray
from vga_policy.cell.finger import finger_joint

from vga_bringup.sim.franky_sim_patches.account import Account

# With franky-sim's own damping the joints follow a position 100 ms late; with this share of it, 15 ms.
DAMPING_SHARE = 0.15

MAX_HAND_SPEED = 0.1  # m/s of the opening, as the Franka hand's
DEFAULT_HAND_FORCE = 70.0  # N
FINGER_STIFFNESS = 8000.0  # N/m
FINGER_DAMPING = 80.0  # N s/m


class CellRobot(FrankaMujocoRobot):
    """franky-sim's arm with a stiffer hand and quicker reading of its state."""

    def __init__(self, initial_q: Sequence[float]) -> None:
        super().__init__(
            initial_q=initial_q,
            initial_hand_width=FRANKA_HAND_MAX_WIDTH,
            kv=tuple(DAMPING_SHARE * kv for kv in MUJOCO_DEFAULT_KV),
        )
        self.account = Account(self.kinematics, self.d_kinematics)
        self._tracked_state_components = self.account.quantities
        self._torque_limits = self.torque_limit_low, self.torque_limit_high
        self.open_hand()

    def set_hand_goal(self, width: float, max_velocity: float, max_force: float) -> None:
        """Drives the fingers to an opening (m, clamped to what the hand can do) with bounded speed (m/s) and force (N).

        The fingers press with `max_force` against whatever stops them short of the opening.
        """
        self._hand_goal_width = float(np.clip(width, 0.0, FRANKA_HAND_MAX_WIDTH))
        self._hand_goal_velocity = min(float(max_velocity), MAX_HAND_SPEED)
        self._hand_goal_force = min(float(max_force), FRANKA_HAND_FORCE_LIMIT)

    def open_hand(self) -> None:
        """Puts the fingers at their widest, at once, and keeps them there."""
        self._finger_target = widest = finger_joint(FRANKA_HAND_MAX_WIDTH)
        self.set_hand_goal(FRANKA_HAND_MAX_WIDTH, MAX_HAND_SPEED, DEFAULT_HAND_FORCE)
        if self._data is not None:
            self._data.qpos[self._finger_qpos_addrs] = widest

    def kinematics(self, q: NDArray[np.float64]) -> Any:
        """Pose of the tool center point. A copy: franky-sim returns a view that its next call overwrites."""
        return super().kinematics(q).copy()

    def _attach_to_scene(self, model: mujoco.MjModel, data: mujoco.MjData, prefix: str) -> None:
        super()._attach_to_scene(model, data, prefix)

        def part(whole: NDArray[np.float64], addresses: list[int]) -> NDArray[np.float64]:
            return whole[addresses[0] : addresses[0] + len(addresses)]

        self._q, self._dq = part(data.qpos, self._qpos_addrs), part(data.qvel, self._dof_addrs)
        self._torques = part(data.qfrc_applied, self._dof_addrs)
        fingers = self._finger_dof_addrs
        self._fingers, self._finger_speeds = part(data.qpos, self._finger_qpos_addrs), part(data.qvel, fingers)
        self._finger_forces = part(data.qfrc_applied, fingers)

    def _pre_step(self) -> None:
        """Moves the fingers' target at the commanded speed and pulls the fingers to it."""
        if self._data is None:
            return
        limit, reach = self._hand_goal_force, self._hand_goal_force / FINGER_STIFFNESS
        step = finger_joint(self._hand_goal_velocity) * 0.001
        goal = finger_joint(self._hand_goal_width)
        q: list[float] = self._fingers.tolist()
        target = min(max(goal, self._finger_target - step), self._finger_target + step)
        # Stopped by an object, the target stays where it asks for just the force: opening then starts at once.
        middle = sum(q) / 2
        self._finger_target = min(max(target, middle - reach), middle + reach)
        for finger, (position, speed) in enumerate(zip(q, self._finger_speeds.tolist(), strict=True)):
            pull = FINGER_STIFFNESS * (self._finger_target - position) - FINGER_DAMPING * speed
            self._finger_forces[finger] = min(max(pull, -limit), limit)

    def _torque_control(self, torques: NDArray[np.float64]) -> None:
        lowest, highest = self._torque_limits
        self._applied_torques = self._torques[:] = np.minimum(np.maximum(torques, lowest), highest)

    def _get_state(self) -> InnerRobotState:
        if self._data is None:
            return super()._get_state()
        return InnerRobotState(
            q=tuple(self._q.tolist()),
            dq=tuple(self._dq.tolist()),
            tau_j=tuple(self._applied_torques.tolist()),
        )
