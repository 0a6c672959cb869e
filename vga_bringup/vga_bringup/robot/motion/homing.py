"""The way home or to another posture: straight in joint space, slow, and it can be braked at any moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell

from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.jobs import Job
from vga_bringup.robot.types import Reference

Vector = NDArray[np.float64]

SMOOTH_SHARE = 0.6  # of the acceleration that the arm follows without lag; braking takes most of the rest
BRAKING = 3.0  # rad/s^2 of the fastest joint, on top of the motion's own
SAMPLES = np.linspace(0.0, 1.0, 101)[1:-1]  # of its duration, at which a way is held against the limits

ARRIVED = 0.02  # rad from the goal that count as there
ARRIVAL_TIMEOUT = 2.0  # s the arm may lag behind the reference at the goal


class WayHome:
    """From rest at `q` (rad, [7]) to `goal`, starting at `now` (s), as a minimum-jerk motion.

    speed: share of the cell's velocity limits, 0 < speed <= 1.
    """

    def __init__(self, limits: Limits, q: Vector, goal: Vector, speed: float, now: float) -> None:
        self._start = np.array(q, dtype=float)
        self._goal = np.array(goal, dtype=float)
        span = self._goal - self._start
        blend, slope, bend = _minimum_jerk(SAMPLES[:, None])
        low, high = limits.velocity_range(self._start + blend * span)
        room = np.where(span > 0, high, -low).clip(min=1e-3) * speed
        self._duration = max(
            float((slope * np.abs(span) / room).max()),
            float(np.sqrt(np.abs(bend * span) / (SMOOTH_SHARE * speed * limits.smooth)).max()),
            0.1,
        )
        self._began = now
        self._brake_at: float | None = None
        self._brake_time = max(0.1, float((slope * np.abs(span)).max()) / self._duration / BRAKING)

    @property
    def ends(self) -> float:
        """When the reference reaches the goal if it is not braked, s."""
        return self._began + self._duration

    def brake(self, now: float) -> None:
        """Comes to rest on the line, from `now` on. A second call changes nothing."""
        if self._brake_at is None:
            self._brake_at = now

    def reference(self, now: float) -> tuple[Vector, Vector]:
        """Position (rad) and velocity (rad/s) at `now`."""
        progress, rate = self._path_time(now)
        blend, slope, _ = _minimum_jerk(np.clip(progress / self._duration, 0.0, 1.0))
        span = self._goal - self._start
        return self._start + blend * span, slope / self._duration * rate * span

    def finished(self, now: float) -> bool:
        """Whether the reference rests, at the goal or where it was braked."""
        progress, rate = self._path_time(now)
        return progress >= self._duration or rate == 0.0

    def remaining(self, q: Vector) -> float:
        """Largest joint distance from `q` to the goal, rad."""
        return float(np.max(np.abs(self._goal - q)))

    def _path_time(self, now: float) -> tuple[float, float]:
        """Time along the undisturbed motion, and how fast it passes: 1, falling to 0 while braking."""
        if self._brake_at is None or now <= self._brake_at:
            return now - self._began, 1.0
        braking = min(now - self._brake_at, self._brake_time)
        rate = 1.0 - braking / self._brake_time
        return self._brake_at - self._began + braking * (1.0 + rate) / 2, rate


def _minimum_jerk(x: Vector) -> tuple[Vector, Vector, Vector]:
    """The share of the way after the share `x` of the time, and its first two derivatives by x."""
    return x**3 * (10 - 15 * x + 6 * x**2), 30 * x**2 * (1 - x) ** 2, 60 * x * (1 - x) * (1 - 2 * x)


class HomingTrajectory:
    """A way home under way, and the job of whoever asked for it.

    q: where the arm rests (rad, [7]). width: of the hand, which it keeps, m. goal: elsewhere; None for the cell's home.
    """

    def __init__(self, cell: Cell, q: Vector, width: float, goal: Vector | None, speed: float, now: float) -> None:
        self.job = Job("homing")
        self._width = width
        self._where = "home" if goal is None else "the position asked for"
        self._way = WayHome(Limits(cell), q, np.array(cell.arm.home) if goal is None else goal, speed, now)

    def reference(self, t: float) -> Reference:
        """What the arm is asked to do at `t`."""
        return Reference(*self._way.reference(t), self._width, sequence=None, step=-1, moving=True)

    def at_rest(self, _now: float) -> bool:
        """Never: the way ends with `step`."""
        return False

    def step(self, q: Vector, now: float) -> bool:
        """Takes the measured position; whether it is over: the reference rests and the job is finished."""
        way, job = self._way, self.job
        job.remaining = way.remaining(q)
        if job.canceled:
            way.brake(now)
        arrived = job.remaining <= ARRIVED
        if not way.finished(now) or not (arrived or job.canceled or now > way.ends + ARRIVAL_TIMEOUT):
            return False
        if arrived:
            job.finish(True, f"at {self._where}")
        else:
            what = "stopped" if job.canceled else "the arm does not follow, it is"
            job.finish(False, f"{what} {job.remaining:.2f} rad from {self._where}")
        return True
