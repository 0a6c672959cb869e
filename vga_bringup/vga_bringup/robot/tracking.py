"""How the arm follows the reference: two trackers behind one interface.

velocity: a fresh joint velocity every tick, feed-forward plus a correction of the position error. Every command
    carries a watchdog: without the next one the arm comes to rest by itself, whatever became of this process, the
    sooner the nearer it is to a joint's end.
impedance: a torque-mode joint impedance controller that is given position and velocity every tick. It is
    compliant. A silent process leaves it at its last target; a dead one ends the torque stream, which stops the arm.

Both plan on franky's side of a 1 kHz loop, so the reference may arrive late by a few ticks without harm.
"""

from __future__ import annotations

from typing import Any, Protocol

import franky
import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Tracking

from vga_bringup.robot.bounds.limits import Limits

Vector = NDArray[np.float64]

# Nm that franky may change a torque by in its cycle of 1 ms. libfranka's 100 Hz low-pass passes 0.386 of it: 0.97,
# just below the 1 that the robot takes. franky's own 1.0 leaves 0.39: too slow to brake an arm held up at speed.
MAX_TORQUE_STEP = 2.5

TORQUE_SHARE = 0.8  # of what the motors give, for spring and damper together; friction and inertia take the rest
SPRING_SHARE = 0.6  # of that, for the spring


class Tracker(Protocol):
    """Makes the arm follow a reference. All calls return at once; faults surface as franky's exceptions."""

    def follow(self, q_ref: Vector, dq_ref: Vector, q: Vector, dq: Vector) -> None:
        """Tracks q_ref [7] (rad) moving at dq_ref (rad/s), from the measured q and dq. The first call starts."""

    def release(self) -> None:
        """Ends the motion cleanly; the robot's own controller then holds the arm. Does nothing a second time."""


class VelocityTracker:
    """Streamed joint velocity, v = dq_ref + gain (q_ref - q), within what may be commanded where the arm is."""

    def __init__(self, robot: Any, gain: float, limits: Limits) -> None:
        self._robot = robot
        self._gain = gain
        self._limits = limits
        self._running = False

    def follow(self, q_ref: Vector, dq_ref: Vector, q: Vector, dq: Vector) -> None:
        """See Tracker."""
        velocity = self._limits.commanded(q, dq, dq_ref + self._gain * (q_ref - q))
        watchdog = franky.Duration(round(1e3 * self._limits.holdable(q, velocity)))
        self._robot.move(franky.JointVelocityMotion(velocity, watchdog), asynchronous=True)
        self._running = True

    def release(self) -> None:
        """See Tracker."""
        if self._running and self._robot.is_in_control:
            self._robot.move(franky.JointVelocityStopMotion(), asynchronous=True)
        self._running = False


class ImpedanceTracker:
    """Joint impedance with `stiffness` (Nm/rad) and `damping` (Nm s/rad), both [7].

    Spring and damper pull together no harder than `torque` (Nm, [7]), the spring alone with SPRING_SHARE of it at most,
    and no faster than what may be commanded where the arm is: after a lag, or when let go, it does not whip back.
    """

    def __init__(self, robot: Any, stiffness: Vector, damping: Vector, torque: Vector, limits: Limits) -> None:
        self._robot = robot
        self._stiffness = stiffness
        self._damping = damping
        self._torque = torque
        self._limits = limits
        self._tracker: franky.JointImpedanceTracker | None = None

    def follow(self, q_ref: Vector, dq_ref: Vector, q: Vector, dq: Vector) -> None:
        """See Tracker."""
        if self._tracker is None or not self._robot.is_in_control:
            self._tracker = franky.JointImpedanceTracker(
                self._robot, stiffness=self._stiffness, damping=self._damping, max_delta_tau=MAX_TORQUE_STEP
            )
        spring = SPRING_SHARE * self._torque
        pull = np.clip(self._stiffness * (q_ref - q), -spring, spring)
        # The velocity at which the damper would just balance that pull.
        velocity = self._limits.commanded(q, dq, dq_ref + pull / self._damping)
        torque = np.clip(self._damping * (velocity - dq), -self._torque, self._torque)
        slip = np.clip(dq_ref - dq, -self._torque / self._damping, self._torque / self._damping)
        self._tracker.set_target(q + (torque - self._damping * slip) / self._stiffness, dq + slip)

    def release(self) -> None:
        """See Tracker."""
        if self._tracker is not None and self._robot.is_in_control:
            self._robot.move(franky.TorqueStopMotion(), asynchronous=True)
        self._tracker = None


def build_tracker(robot: Any, config: Tracking, limits: Limits) -> Tracker:
    """The tracker the cell asks for."""
    if config.mode == "velocity":
        return VelocityTracker(robot, config.gain, limits)
    torque = TORQUE_SHARE * limits.torque
    return ImpedanceTracker(robot, np.array(config.stiffness), np.array(config.damping), torque, limits)
