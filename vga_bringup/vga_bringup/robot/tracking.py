"""How the arm follows the reference: two trackers behind one interface.

velocity: a fresh joint velocity every tick, feed-forward plus a correction of the position error. Every command
    carries a watchdog: without the next one the arm comes to rest by itself, whatever became of this process.
impedance: a torque-mode joint impedance controller that is given position and velocity every tick. It is
    compliant. A silent process leaves it at its last target; a dead one ends the torque stream, which stops the arm.

Both plan on franky's side of a 1 kHz loop, so the reference may arrive late by a few ticks without harm.
"""

from __future__ import annotations

from typing import Any, Protocol

import franky
import numpy as np
from numpy.typing import NDArray
from vga_policy.contract.cell import Tracking

Vector = NDArray[np.float64]

WATCHDOG = franky.Duration(300)  # ms a velocity is held without a new one, before franky decelerates

# Nm that franky may change a torque by in its cycle of 1 ms. libfranka's 100 Hz low-pass passes 0.386 of it: 0.97,
# just below the 1 that the robot takes. franky's own 1.0 leaves 0.39: too slow to brake an arm held up at speed.
MAX_TORQUE_STEP = 2.5


class Tracker(Protocol):
    """Makes the arm follow a reference. All calls return at once; faults surface as franky's exceptions."""

    def follow(self, q_ref: Vector, dq_ref: Vector, q: Vector) -> None:
        """Tracks q_ref [7] (rad) moving at dq_ref (rad/s), from the measured q. The first call starts the motion."""

    def release(self) -> None:
        """Ends the motion cleanly; the robot's own controller then holds the arm. Does nothing a second time."""


class VelocityTracker:
    """Streamed joint velocity, v = dq_ref + gain (q_ref - q), clipped to `limit` (rad/s, [7])."""

    def __init__(self, robot: Any, gain: float, limit: Vector) -> None:
        self._robot = robot
        self._gain = gain
        self._limit = limit
        self._running = False

    def follow(self, q_ref: Vector, dq_ref: Vector, q: Vector) -> None:
        """See Tracker."""
        velocity = np.clip(dq_ref + self._gain * (q_ref - q), -self._limit, self._limit)
        self._robot.move(franky.JointVelocityMotion(velocity, WATCHDOG), asynchronous=True)
        self._running = True

    def release(self) -> None:
        """See Tracker."""
        if self._running and self._robot.is_in_control:
            self._robot.move(franky.JointVelocityStopMotion(), asynchronous=True)
        self._running = False


class ImpedanceTracker:
    """Joint impedance with `stiffness` (Nm/rad) and `damping` (Nm s/rad), both [7].

    limit: furthest the target may lie from the measured position, rad: a stiff spring must not be stretched far.
    """

    def __init__(self, robot: Any, stiffness: Vector, damping: Vector, limit: float = 0.1) -> None:
        self._robot = robot
        self._stiffness = stiffness
        self._damping = damping
        self._limit = limit
        self._tracker: franky.JointImpedanceTracker | None = None

    def follow(self, q_ref: Vector, dq_ref: Vector, q: Vector) -> None:
        """See Tracker."""
        if self._tracker is None or not self._robot.is_in_control:
            self._tracker = franky.JointImpedanceTracker(
                self._robot, stiffness=self._stiffness, damping=self._damping, max_delta_tau=MAX_TORQUE_STEP
            )
        self._tracker.set_target(q + np.clip(q_ref - q, -self._limit, self._limit), dq_ref)

    def release(self) -> None:
        """See Tracker."""
        if self._tracker is not None and self._robot.is_in_control:
            self._robot.move(franky.TorqueStopMotion(), asynchronous=True)
        self._tracker = None


def build_tracker(robot: Any, config: Tracking, velocity_limit: Vector) -> Tracker:
    """The tracker the cell asks for; velocity_limit [7] in rad/s is what the arm may be commanded."""
    if config.mode == "velocity":
        return VelocityTracker(robot, config.gain, velocity_limit)
    return ImpedanceTracker(robot, np.array(config.stiffness), np.array(config.damping))
