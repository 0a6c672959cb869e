"""What is asked of the driver while it is judged: chunks, a leader's motion and postures, the same live and offline.

Everything random comes from a NumPy Generator, so that a seed names a run. Joints are rad [7], time is in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Box, Cell

Vector = NDArray[np.float64]
Curve = Callable[[float], Vector]

SIDES = (1, -1)
# Where an approach of a joint's end begins, and what the other joints do meanwhile: the whole way is 14 cm clear of
# the arm itself and 20 cm of the floor. Only J4's lower end folds the forearm within 7.5 cm of the upper arm.
START = (0.0, -0.3, 0.0, -1.6, 0.0, 2.2, 0.0)
STARTS = {(1, 1): (0.1, 0.2, 1.4, -1.9, 0.9, 1.1, 0.4), (3, -1): (0.0, -0.9, 0.0, -1.6, 1.4, 2.2, 0.0)}
APPROACH = 1.3  # rad before the end at which it begins
SHORT_OF_END = 1e-3  # rad by which a posture at an end is inside the limits

AMPLITUDE = np.array([0.3, 0.2, 0.3, 0.2, 0.3, 0.2, 0.3])  # rad, peak to peak, of a sine around home
FAST, FAST_AMPLITUDE, FAST_SHARE = 0.9, 1.3, 0.85  # Hz; times AMPLITUDE at most; share of the cell's speed at most
ELSEWHERE = ((0.6, -0.4, 0.4, -1.8, 0.5, 2.0, 0.2), (-0.6, -1.0, -0.4, -2.4, -0.8, 1.2, 1.5))  # far from home, clear

FINE = 0.01  # s, at which a chunk is integrated
SCALES = (1.0, 0.7, 0.5, 0.3, 0.15, 0.05)  # of a random chunk's boldness, tried until one is taken
HARDEST_STEP = 0.6  # of the acceleration limit: the cubic between steps accelerates more than they do
FULL_SPEED = 0.95  # of the cell's velocity limit
MIDDLE_PULL = 0.4  # of random speeds towards the middle, so that the arm stays about
ASIDE, ASIDE_SHARE = 0.7, 0.3  # of the largest jump, by which that share of random chunks begins beside the motion

ARRIVED = 0.02  # rad/s at which a joint that can only brake has come to its end

FLOOR = 0.05  # m: nothing but the base comes nearer to the judging robot's floor
BASE = 0.15  # m from the axis that belong to the base


def judged_cell(cell: Cell, address: str, tracking: str, speed: float) -> Cell:
    """`cell` with its arm at another address, and with room to reach the ends of its joints above a floor."""
    arm = {
        **cell.arm.model_dump(),
        "ip": address,
        "realtime": "ignore",
        "payload": {},  # franka-sim takes note of none, and its arm carries no camera
        "self_collision": {**cell.arm.self_collision.model_dump(), "mounted": []},
        "speed_scale": speed,
        "tracking": {**cell.arm.tracking.model_dump(), "mode": tracking},
    }
    room = {"min": [-1.2, -1.2, FLOOR], "max": [1.2, 1.2, 1.6]}
    floor = [  # around the base
        Box(name="floor", min=[low_x, low_y, -1.0], max=[high_x, high_y, FLOOR])
        for low_x, high_x, low_y, high_y in (
            (BASE, 2, -2, 2), (-2, -BASE, -2, 2), (-BASE, BASE, BASE, 2), (-BASE, BASE, -2, -BASE),
        )
    ]  # fmt: skip
    return Cell.model_validate({**cell.model_dump(), "arm": arm, "workspace": room, "keep_out": floor})


@dataclass(frozen=True, eq=False)
class End:
    """One end of one joint. joint: from 0. side: 1 for the upper, -1. start: before it. posture: at it."""

    joint: int
    side: int
    start: Vector
    posture: Vector

    @property
    def name(self) -> str:
        """J2-, say."""
        return f"J{self.joint + 1}{'+' if self.side > 0 else '-'}"


def ends(cell: Cell) -> list[End]:
    """The 14 ends of the cell's joint limits."""
    lower, upper = np.array(cell.arm.limits.lower), np.array(cell.arm.limits.upper)
    found = []
    for joint in range(7):
        for side in SIDES:
            start = np.array(STARTS.get((joint, side), START))
            posture = start.copy()
            posture[joint] = (upper if side > 0 else lower)[joint] - side * SHORT_OF_END
            start[joint] = np.clip(posture[joint] - side * APPROACH, lower[joint] + 0.1, upper[joint] - 0.1)
            found.append(End(joint, side, start, posture))
    return found


def fast_sine(cell: Cell) -> Curve:
    """A sine around home that uses most of the cell's speed."""
    allowed = FAST_SHARE * cell.arm.max_velocity / (np.pi * FAST)
    return sine(np.array(cell.arm.home), np.minimum(allowed, FAST_AMPLITUDE * AMPLITUDE), FAST)


def sine(middle: Vector, amplitude: Vector, frequency: float) -> Curve:
    """From rest at `middle`: every joint swings by `amplitude` (rad, peak to peak), `frequency` times a second."""
    return lambda t: middle + amplitude * (1 - np.cos(2 * np.pi * frequency * max(t, 0.0))) / 2


class ChunkSource(Protocol):
    """Makes chunks for the motion under way."""

    def tries(self, q: Vector, dq: Vector, lag: float) -> Iterator[Vector]:
        """Chunks [H, 7] for a reference at q moving at dq, observed `lag` s ago: to be offered until one is taken."""


class RandomChunks:
    """Random receding chunks: each heads for random joint speeds, the boldest first; some begin beside the motion.

    middle: where they stay about, rad; home by default.
    """

    def __init__(self, cell: Cell, rng: np.random.Generator, middle: Vector | None = None) -> None:
        self._cell, self._rng = cell, rng
        self._middle = np.array(cell.arm.home) if middle is None else middle
        self._speed = FULL_SPEED * cell.arm.max_velocity
        self._acceleration = HARDEST_STEP * np.array(cell.arm.limits.acceleration)

    def tries(self, q: Vector, dq: Vector, lag: float) -> Iterator[Vector]:
        """See ChunkSource."""
        pull = MIDDLE_PULL * np.clip(2.0 * (self._middle - q), -1.0, 1.0)
        aside = self._rng.uniform(-1, 1, 7) * ASIDE * self._cell.execution.max_jump
        aside *= self._rng.random() < ASIDE_SHARE
        for scale in SCALES:
            wanted = np.clip(self._rng.uniform(-1, 1, 7) * scale + pull, -1, 1)
            yield steps(self._cell, q, dq, wanted * self._speed, scale * self._acceleration, lag) + scale * aside


class TowardEnd:
    """Chunks that drive one joint towards its end as fast as they are accepted, braking as late as possible.

    speed, acceleration, deceleration: shares of the limits.
    """

    def __init__(
        self, cell: Cell, end: End, speed: float = 0.97, acceleration: float = 0.6, deceleration: float = 0.95
    ) -> None:
        self._cell, self._end = cell, end
        self._speed = speed * cell.arm.max_velocity
        self._acceleration = acceleration * np.array(cell.arm.limits.acceleration)
        self._deceleration = deceleration * np.array(cell.arm.limits.acceleration)
        self._braking = 0  # of the last steps

    def tries(self, q: Vector, dq: Vector, lag: float) -> Iterator[Vector]:
        """See ChunkSource; none once it rests before the end and cannot go on."""
        horizon = self._cell.action.horizon
        if self._braking == horizon and abs(dq[self._end.joint]) < ARRIVED:
            return
        wanted = np.clip(2.0 * (self._end.start - q), -self._speed, self._speed)
        wanted[self._end.joint] = self._end.side * self._speed[self._end.joint]
        for braking in range(max(0, self._braking - 1), horizon + 1):
            self._braking = braking
            brake_after = (horizon - braking) * self._cell.dt - lag
            yield steps(self._cell, q, dq, wanted, self._acceleration, lag, brake_after, self._deceleration)
        self._braking = 0


def steps(
    cell: Cell,
    q: Vector,
    dq: Vector,
    wanted: Vector,
    acceleration: Vector,
    lag: float,
    brake_after: float = np.inf,
    deceleration: Vector | None = None,
) -> Vector:
    """A chunk [H, 7] from `q` moving at `dq` now, observed `lag` s ago, that accelerates to the speeds `wanted`.

    brake_after: s from now on which it comes to rest again, by `deceleration`.
    """
    horizon, dt = cell.action.horizon, cell.dt
    grid = np.arange(0.0, horizon * dt + FINE, FINE)
    path = [np.array(q, dtype=float)]
    velocity = np.array(dq, dtype=float)
    for t in grid[1:]:
        braking = t > brake_after
        most = FINE * (deceleration if braking and deceleration is not None else acceleration)
        step = np.clip((0.0 if braking else wanted) - velocity, -most, most)
        path.append(path[-1] + (velocity + step / 2) * FINE)
        velocity = velocity + step
    due = dt * np.arange(1, horizon + 1) - lag
    future = np.column_stack([np.interp(due, grid, column) for column in np.array(path).T])
    return np.where(due[:, None] < 0, q + due[:, None] * dq, future)


def leader(cell: Cell, rng: np.random.Generator, seconds: float) -> Curve:
    """A leader that rests at home, then jumps, shakes and reaches beyond the joints' ends, by turns."""
    home = np.array(cell.arm.home)
    lower, upper = np.array(cell.arm.limits.lower) - 0.2, np.array(cell.arm.limits.upper) + 0.2
    parts: list[tuple[float, Curve]] = [(1.5, lambda _: home)]
    while sum(length for length, _ in parts) < seconds:
        jump = home + rng.uniform(-0.6, 0.6, 7)
        end = home.copy()
        chosen = rng.permutation(7)[:3]
        end[chosen] = np.where(rng.random(3) < 0.5, lower[chosen], upper[chosen])
        rate = rng.uniform(1.5, 2.5)
        parts += [
            (0.6, lambda _, jump=jump: jump),  # type: ignore[misc]
            (1.0, lambda t, rate=rate: home + 0.4 * np.sin(2 * np.pi * rate * t)),  # type: ignore[misc]
            (1.0, lambda _, end=end: end),  # type: ignore[misc]
            (0.9, lambda _: home),
        ]
    starts = np.cumsum([0.0, *(length for length, _ in parts)])

    def at(t: float) -> Vector:
        part = min(int(np.searchsorted(starts, max(t, 0.0), side="right")) - 1, len(parts) - 1)
        return parts[part][1](t - starts[part])

    return at
