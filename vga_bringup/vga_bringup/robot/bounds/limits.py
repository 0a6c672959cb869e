"""What the cell's arm may be asked for: the limits of its model, tightened by the cell, shared out between three.

The reference, which chunks, leader and homing become, uses a share of what the robot takes. The tracker lies between
reference and robot: what corrects the arm's lag may use a little more, and franky, which plans to each command, never
plans beyond it. What is left keeps rounding, a lost packet and the arm's own dynamics from ending in a reflex.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.arm_models import FR3, PANDA
from vga_policy.cell.schema import Cell

Array = NDArray[np.float64]

# Of the robot's own limits: what franky plans with, and what a command may ask for.
TRACKER_ACCELERATION = 0.95
TRACKER_JERK = 0.9
COMMAND_SHARE = 0.94
LOOK_AHEAD = 0.035  # s between the reading that a command is made from and its last effect, through franky
CATCH_UP = 1.05  # of the cell's velocity limit, for a command that makes up for a lag
HOLDS = (0.05, 0.1, 0.15, 0.2, 0.3)  # s a command may be held for; then the arm brakes by itself
# Of franky's acceleration: what stops, homing and the pursuit of a leader use. With all of it the arm would lag.
REFERENCE_ACCELERATION = 0.85
# Of that: what braking along the limit near a joint's end may take, so that whoever is under it can stay under it.
BRAKING = 0.9


class Limits:
    """Limits of the motion asked for in one cell. Arrays are float64 [7], in rad, s and Nm.

    lower, upper: joint range. velocity: far from the joints' ends. acceleration: of a chunk's steps.
    smooth: acceleration that the arm follows without lag. tracker_acceleration, tracker_jerk: what franky plans with.
    torque: what the motors give.
    """

    def __init__(self, cell: Cell) -> None:
        limits, own = cell.arm.limits, cell.arm.own
        self._own = own
        self._share = limits.share
        self.lower, self.upper = np.maximum(limits.lower, own.lower), np.minimum(limits.upper, own.upper)
        self.velocity = np.minimum(cell.arm.max_velocity, limits.share * own.velocity * cell.arm.speed_scale)
        self.acceleration = np.minimum(limits.acceleration, own.acceleration)
        # franky takes nothing beyond its own table, which in builds for the one arm is that of the other.
        self.tracker_acceleration = TRACKER_ACCELERATION * np.minimum(FR3.acceleration, PANDA.acceleration)
        self.tracker_jerk = TRACKER_JERK * np.minimum(FR3.jerk, PANDA.jerk)
        self.command_velocity = np.minimum(CATCH_UP * np.array(limits.velocity), PANDA.velocity)
        self.smooth = np.minimum(self.acceleration, REFERENCE_ACCELERATION * self.tracker_acceleration)
        self.stopping = np.minimum(cell.execution.stop_acceleration, self.smooth)
        self.torque = own.torque
        self._braking = BRAKING * self.smooth / limits.share**2
        self._command = CATCH_UP * self.velocity

    def velocity_range(self, q: Array) -> tuple[Array, Array]:
        """Lowest and highest velocity of a reference at `q` [..., 7] (rad), rad/s: two [..., 7]."""
        low, high = self._own.velocity_limits(q, self._braking)
        return np.maximum(self._share * low, -self.velocity), np.minimum(self._share * high, self.velocity)

    def excess(self, q: Array, dq: Array) -> Array:
        """How far a reference's velocity `dq` at `q` [..., 7] is beyond its range, rad/s; 0 within: [..., 7]."""
        low, high = self.velocity_range(q)
        return np.asarray(np.maximum(dq - high, low - dq).clip(min=0.0))

    def arrival(self, q: Array, h: float) -> tuple[Array, Array]:
        """Lowest and highest velocity at the end of a period of `h` s that are in range where the joint is by then.

        q: [7], where a period leads less h/2 times the velocity it ends with.
        """
        low, high = (
            self._share * self._own.arrival(distance, self._braking, self._share * h)
            for distance in (q - self._own.lower, self._own.upper - q)
        )
        return np.maximum(-low, -self.velocity), np.minimum(high, self.velocity)

    def commanded(self, q: Array, dq: Array, velocity: Array) -> Array:
        """`velocity` [7] as it may be commanded to an arm that is at `q` and moves at `dq`, rad/s."""
        low, high = self._own.velocity_limits(q + LOOK_AHEAD * dq, self._braking)
        top = np.minimum(self._command, self.command_velocity)
        return np.clip(velocity, np.maximum(COMMAND_SHARE * low, -top), np.minimum(COMMAND_SHARE * high, top))

    def holdable(self, q: Array, velocity: Array) -> float:
        """How long an arm at `q` may go on with `velocity` [7] should nothing new be commanded, s: one of HOLDS."""
        ahead = q + np.array(HOLDS)[:, None] * velocity
        low, high = self._own.velocity_limits(ahead, self._braking)
        within = ((velocity <= high) & (velocity >= low)).all(axis=1)
        return HOLDS[-1] if within.all() else HOLDS[max(int(within.argmin()) - 1, 0)]
