"""Stand-ins for franky.Robot and franky.Gripper that raise what no simulator can: reflex, communication error, user
stop, lost connection, a hand that does not answer. The arm is ideal: it reaches commanded velocities at once.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import SimpleNamespace

import franky
import numpy as np

REFLEX = 'libfranka: Move command aborted: motion aborted by reflex! ["cartesian_reflex"]'
COMMUNICATION = (
    'libfranka: Move command aborted: motion aborted by reflex! ["communication_constraints_violation"]\n'
    "control_command_success_rate: 0.61 packets lost in a row in the last sample: 20"
)
USER_STOP = "libfranka: Move command aborted: User Stop pressed!"
LOST = "libfranka: UDP receive: Timeout"


class Limit:
    """franky.VectorDynamicsLimit."""

    def __init__(self, values):
        self.max = np.array(values, dtype=float)
        self._values = self.max.copy()

    def get(self):
        return self._values

    def set(self, values):
        values = np.array(values, dtype=float)
        if np.any(values > self.max + 1e-9):
            raise RuntimeError("limit cannot be greater than the maximum value")
        self._values = values


class FaultyRobot:
    """franky.Robot as far as the driver uses it, with faults on command. Every attribute is the arm's truth."""

    def __init__(self, q):
        self.q = np.array(q, dtype=float)
        self.robot_mode = franky.RobotMode.Idle
        self.current_errors = []
        self.success_rate = 1.0
        self.lost = False
        self.frozen = False
        self.relative_dynamics_factor = franky.RelativeDynamicsFactor(1.0, 1.0, 1.0)
        self.joint_velocity_limit = Limit([2.175] * 4 + [2.61] * 3)
        self.joint_acceleration_limit = Limit([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0])
        self.joint_jerk_limit = Limit([7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0])
        self.collision = None
        self.load = (0.0, [0.0] * 3, [0.0] * 9)
        self.frame = np.eye(4)
        self.recoveries = 0
        self.refuse_settings = ""
        self.recovers = True
        self._lock = threading.Lock()
        self._velocity = np.zeros(7)
        self._tracking = None
        self._motion_ends = 0.0
        self._pending = None
        self._moved_at = time.monotonic()
        self._time_ms = 0

    # Faults.

    def reflex(self, message=REFLEX, errors=("cartesian_reflex",)):
        """The arm stops by itself."""
        with self._lock:
            self._advance()
            self._stop(franky.ControlException(message))
            self.robot_mode = franky.RobotMode.Reflex
            self.current_errors = list(errors)

    def communication_error(self):
        self.reflex(COMMUNICATION, ("communication_constraints_violation",))

    def user_stop(self):
        with self._lock:
            self._advance()
            self._stop(franky.ControlException(USER_STOP))
            self.robot_mode = franky.RobotMode.UserStopped

    def release_user_stop(self):
        self.robot_mode = franky.RobotMode.Idle

    def lose_connection(self):
        with self._lock:
            self._advance()
            self._stop(franky.NetworkException(LOST))
            self.lost = True

    # franky.Robot.

    @property
    def is_in_control(self):
        with self._lock:
            self._advance()
            return self._in_control()

    @property
    def state(self):
        with self._lock:
            if self.lost:
                raise franky.NetworkException(LOST)
            self._advance()
            if not self.frozen:
                self._time_ms += 1
            mode = franky.RobotMode.Move if self._in_control() else self.robot_mode
            mass, center, inertia = self.load
            return SimpleNamespace(
                q=self.q.copy(),
                dq=self._velocity.copy(),
                tau_J=np.zeros(7),
                time=franky.Duration(self._time_ms),
                robot_mode=mode,
                current_errors=Errors(self.current_errors),
                control_command_success_rate=self.success_rate,
                m_load=mass,
                F_x_Cload=np.array(center),
                I_load=np.array(inertia).reshape(3, 3).T,
                NE_T_EE=franky.Affine(self.frame),
            )

    @property
    def current_joint_positions(self):
        return self.state.q

    def move(self, motion, asynchronous=False):
        assert asynchronous, "the driver must never wait for a motion"
        with self._lock:
            self._raise_pending()
            self._advance()
            now = time.monotonic()
            if isinstance(motion, franky.JointVelocityMotion):
                self._velocity = np.array(motion.target)
                self._motion_ends = now + motion.duration.to_sec()
            elif isinstance(motion, franky.JointImpedanceTrackingMotion):
                self._tracking = motion
                self._motion_ends = np.inf
            else:  # the stop motions
                self._stop(None)

    def join_motion(self, timeout=None):
        with self._lock:
            self._raise_pending()
            return not self._in_control()

    def recover_from_errors(self):
        with self._lock:
            if self.lost:
                raise franky.NetworkException(LOST)
            self.recoveries += 1
            if not self.recovers:
                return False
            self._pending = None
            self.current_errors = []
            self.robot_mode = franky.RobotMode.Idle
            return True

    def set_collision_behavior(self, torque, force):
        self._command()
        self.collision = (list(torque), list(force))

    def set_load(self, mass, center, inertia):
        self._command()
        self.load = (mass, list(center), list(inertia))

    def set_ee(self, matrix):
        self._command()
        self.frame = np.array(matrix).reshape(4, 4).T

    def _command(self):
        if self.lost:
            raise franky.NetworkException(LOST)
        if self.refuse_settings:
            raise franky.CommandException(self.refuse_settings)

    def _in_control(self):
        return time.monotonic() < self._motion_ends

    def _stop(self, error):
        if error is not None and self._in_control():
            self._pending = error
        self._velocity = np.zeros(7)
        self._tracking = None
        self._motion_ends = 0.0

    def _raise_pending(self):
        if self.lost:
            raise franky.NetworkException(LOST)
        if self._pending is not None:
            error, self._pending = self._pending, None
            raise error

    def _advance(self):
        """Moves the arm up to now."""
        now = time.monotonic()
        until = min(now, self._motion_ends)
        if self._tracking is not None:
            reference = self._tracking.get_reference()
            self.q = np.array(reference.q)
            self._velocity = np.array(reference.dq)
        elif until > self._moved_at:
            self.q = self.q + self._velocity * (until - self._moved_at)
        if now >= self._motion_ends:
            self._velocity = np.zeros(7)
        self._moved_at = now


class Errors(list):
    """franky.Errors, which cannot be made with errors in it; the driver only reads its text."""

    def __repr__(self):
        return "[" + ", ".join(f'"{name}"' for name in self) + "]"


@contextlib.contextmanager
def ports(host):
    """Listens where libfranka would, so that probing finds somebody."""
    with contextlib.ExitStack() as stack:
        for port in (1337, 1338):
            stack.enter_context(socket.create_server((host, port)))
        yield


class FaultyHand:
    """franky.Gripper as far as the driver uses it. `speed` m/s; a command blocks until the fingers arrive.

    max_width: 0 before homing, as the real hand says it. obstacles: openings beyond which nothing moves the fingers.
    """

    def __init__(self, width=0.04, object_width=0.0, speed=0.2, max_width=0.08):
        self.width = width
        self.max_width = max_width
        self.obstacles = (0.0, 0.08)
        self.fails = False  # commands are answered with false
        self.is_grasped = False
        self.object_width = object_width
        self.speed = speed
        self.lost = False
        self.deaf = False  # commands are never answered
        self.calls = []
        self._stopping = threading.Event()

    @property
    def state(self):
        if self.lost:
            raise franky.NetworkException(LOST)
        time.sleep(0.002)
        return SimpleNamespace(width=self.width, max_width=self.max_width, is_grasped=self.is_grasped)

    def move(self, width, speed):
        self.calls.append(("move", round(width, 4)))
        return self._drive(width)

    def grasp(self, width, speed, force, epsilon_inner, epsilon_outer):
        self.calls.append(("grasp", force))
        self.is_grasped = self._drive(max(width, self.object_width)) and not self.fails
        return self.is_grasped

    def homing(self):
        self.calls.append(("homing",))
        if not self._drive(0.08):
            return False
        self.max_width = 0.08
        return True

    def stop(self):
        self.calls.append(("stop",))
        self._stopping.set()
        return True

    def lose_object(self):
        """What it holds slips out: the fingers close."""
        self.object_width = self.width = 0.0

    def _drive(self, width):
        self._stopping.clear()
        self.is_grasped = False
        wanted, width = width, float(np.clip(width, *self.obstacles))
        while abs(width - self.width) > 1e-6 or self.deaf:
            if self._stopping.wait(0.01):
                raise franky.CommandException("libfranka gripper: command aborted")
            if self.lost:
                raise franky.NetworkException(LOST)
            if not self.deaf:
                step = self.speed * 0.01
                self.width += float(np.clip(width - self.width, -step, step))
        return width == wanted


class SlowToStop(FaultyHand):
    """Answers a stop only when it is let to, as the real hand does after a while."""

    def __init__(self, **conditions):
        super().__init__(**conditions)
        self.answers = threading.Event()

    def _drive(self, width):
        try:
            return super()._drive(width)
        except franky.CommandException:
            self.answers.wait(5.0)
            raise
