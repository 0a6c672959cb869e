"""The Franka arm through franky: settings, state, motion and recovery of one connection."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import franky
import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Arm, Cell

from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.faults import ArmError, explain, reflex
from vga_bringup.robot.tracking import build_tracker

Vector = NDArray[np.float64]
RobotFactory = Callable[[Arm], Any]

JOIN_TIMEOUT = 0.1  # s franky may take to clear up behind a motion that has ended
MOTION_LIMIT = "franky."  # begins the names of the limits that franky plans with; a motion must not start without them
READ_BACK_TOLERANCE = 1e-4  # the robot reports some settings in single precision


def franky_robot(config: Arm) -> Any:
    """Connects to the arm of the cell. Blocks for ever while another program controls the robot."""
    realtime = franky.RealtimeConfig.Enforce if config.realtime == "enforce" else franky.RealtimeConfig.Ignore
    return franky.Robot(config.ip, realtime_config=realtime)


@dataclass(frozen=True)
class Setting:
    """One value given to the robot, and what it answered. `actual` is empty where libfranka offers no reading."""

    name: str
    wanted: str
    actual: str = ""

    @property
    def ok(self) -> bool:
        """Whether the robot uses the value, as far as it can tell."""
        return not self.actual or self.actual == self.wanted

    @property
    def unfit(self) -> bool:
        """Whether it is a limit of the motion that is not in force."""
        return self.name.startswith(MOTION_LIMIT) and not self.ok


@dataclass(frozen=True)
class ArmState:
    """Measured state. q, dq, torque: float64 [7], rad, rad/s, Nm. time_ms: the robot's clock.

    mode: libfranka's robot mode in words. errors: libfranka's names of the present errors.
    success_rate: share of the last 100 control commands that arrived in time; NaN while no motion runs.
    """

    q: Vector
    dq: Vector
    torque: Vector
    time_ms: int
    mode: str
    errors: str
    success_rate: float

    @property
    def fault(self) -> ArmError | None:
        """Why an arm in this state must not move; None when it may."""
        if self.mode == "user stopped":
            return ArmError("user stop pressed: release it")
        if self.mode == "reflex" or self.errors:
            return reflex(self.errors or "no error named")
        if self.mode not in ("idle", "move"):
            return ArmError(f"robot mode is '{self.mode}'", needs_recovery=False)
        return None


class FrankaArm:
    """One connection to the arm. After a fault with `lost` it is dead: build a new one on a new robot object.

    Every method raises ArmError and nothing else when the arm does not obey.
    """

    def __init__(self, robot: Any, cell: Cell) -> None:
        self._robot = robot
        self._config = cell.arm
        self._limits = Limits(cell)
        self._settings: tuple[Setting, ...] = ()
        self._in_control = False  # at the last reading
        self._tracker = build_tracker(robot, cell.arm.tracking, self._limits)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What was applied and read back; empty until `apply_settings` succeeded."""
        return self._settings

    @property
    def unfit(self) -> str:
        """Why no motion may start with what franky plans with; empty when one may."""
        if not self._settings:
            return "the robot has not taken the cell's settings: run the recover action"
        wrong = [f"{item.name} {item.actual} instead of {item.wanted}" for item in self._settings if item.unfit]
        return f"limits are not as they were set: {'; '.join(wrong)}" if wrong else ""

    @property
    def moving(self) -> bool:
        """Whether a motion of ours runs on the robot."""
        return bool(self._robot.is_in_control)

    def apply_settings(self) -> None:
        """Gives the robot the cell's settings and reads back what it can be asked for."""
        try:
            self._settings = self._apply_settings()
        except Exception as error:
            raise explain(error) from error

    def read(self) -> ArmState:
        """The arm's state. Takes about 1 ms at rest, no time in motion, 1 s when the robot has gone.

        Raises the fault that ended a motion, once.
        """
        try:
            was_in_control, self._in_control = self._in_control, self.moving
            if was_in_control and not self._in_control:
                self._robot.join_motion(JOIN_TIMEOUT)
            state = self._robot.state
        except Exception as error:
            raise explain(error) from error
        return ArmState(
            q=state.q,
            dq=state.dq,
            torque=state.tau_J,
            time_ms=state.time.to_msec(),
            mode=_words(state.robot_mode.name),
            errors=repr(state.current_errors).strip("[]").replace('"', ""),
            success_rate=float(state.control_command_success_rate) if self._in_control else math.nan,
        )

    def follow(self, q_ref: Vector, dq_ref: Vector, q: Vector, dq: Vector) -> None:
        """Tracks a reference (rad, rad/s) from the measured q and dq; call it at the tracking rate."""
        try:
            self._tracker.follow(q_ref, dq_ref, q, dq)
        except Exception as error:
            raise explain(error) from error

    def release(self) -> None:
        """Ends the motion of an arm at rest; the robot's own controller holds it from then on."""
        try:
            self._tracker.release()
        except Exception as error:
            raise explain(error) from error

    def clear_errors(self) -> None:
        """Libfranka's automatic error recovery. Takes up to some seconds."""
        with contextlib.suppress(Exception):
            self._robot.join_motion(JOIN_TIMEOUT)  # forget what ended the last motion, it has been reported
        try:
            recovered = self._robot.recover_from_errors()
        except Exception as error:
            raise explain(error) from error
        if not recovered:
            raise ArmError("the robot could not clear its errors: look at Desk")

    def _apply_settings(self) -> tuple[Setting, ...]:
        robot, config = self._robot, self._config
        settings = [
            Setting("realtime", config.realtime),
            Setting("collision.joint_torque", _figures(config.collision.joint_torque)),
            Setting("collision.cartesian_wrench", _figures(config.collision.cartesian_wrench)),
        ]
        robot.set_collision_behavior(config.collision.joint_torque, config.collision.cartesian_wrench)

        for name, kind, limit in (
            ("velocity", robot.joint_velocity_limit, self._limits.command_velocity),
            ("acceleration", robot.joint_acceleration_limit, self._limits.tracker_acceleration),
            ("jerk", robot.joint_jerk_limit, self._limits.tracker_jerk),
        ):
            kind.set(np.minimum(limit, kind.max))
            settings.append(_read_back(MOTION_LIMIT + name, limit, kind.get()))

        # The scale bounds speed only: an arm that is told to be slow must still be able to stop.
        robot.relative_dynamics_factor = franky.RelativeDynamicsFactor(config.speed_scale, 1.0, 1.0)
        settings.append(_read_back("speed_scale", config.speed_scale, robot.relative_dynamics_factor.velocity))

        payload = config.payload
        inertia = np.array(payload.inertia).reshape(3, 3)
        robot.set_load(payload.mass, payload.center_of_mass, inertia.flatten(order="F").tolist())
        frame = _transform(config.end_effector_xyz, config.end_effector_rpy)
        robot.set_ee(frame.flatten(order="F").tolist())
        state = robot.state
        settings += [
            _read_back("payload.mass", payload.mass, state.m_load),
            _read_back("payload.center_of_mass", payload.center_of_mass, state.F_x_Cload),
            _read_back("payload.inertia", payload.inertia, state.I_load),
            _read_back("end_effector", frame, state.NE_T_EE.matrix),
        ]
        self._tracker = build_tracker(robot, config.tracking, self._limits)
        return tuple(settings)


def _read_back(name: str, wanted: Any, actual: Any) -> Setting:
    """A setting and its reading; a reading within rounding error counts as equal."""
    shown = _figures(wanted)
    same = np.allclose(np.ravel(wanted), np.ravel(actual), atol=READ_BACK_TOLERANCE)
    return Setting(name, shown, shown if same else _figures(actual))


def _figures(values: Any) -> str:
    return " ".join(f"{value + 0.0:.4g}" for value in np.ravel(values))  # + 0.0 turns -0 into 0


def _words(name: str) -> str:
    """'UserStopped' as 'user stopped'."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()


def _transform(xyz: list[float], rpy: list[float]) -> Vector:
    """Homogeneous transform of a translation (m) and fixed-axis roll, pitch, yaw (rad)."""
    (sr, sp, sy), (cr, cp, cy) = np.sin(rpy), np.cos(rpy)
    transform = np.eye(4)
    transform[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    transform[:3, 3] = xyz
    return transform
