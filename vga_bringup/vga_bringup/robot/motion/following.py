"""From the leader's samples to the reference the arm tracks in teleoperation, as a pure function of (samples, clock).

The reference pursues the leader. It is planned one control period at a time, each with a constant acceleration, so it
is continuous in position and velocity, and it never enters a state from which it could not brake in bounds. A leader
that is too fast or reaches too far is followed as well as the limits allow: nothing is refused, everything is counted.
After a reset the arm goes to the leader slowly before it follows. Where it takes over from another motion, it follows
the leader's motion from where both are: an offset stays between them, or fades while the leader moves.

All times are seconds (float) on one monotonic clock; joints are radians.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell

from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.bounds.space import CLOSE, RESERVE, Space
from vga_bringup.robot.motion.trajectory import Curve
from vga_bringup.robot.types import Reference

Vector = NDArray[np.float64]

MAX_MISALIGNMENT = 0.8  # rad a joint of the leader may be away from the arm when teleoperation begins
APPROACH_SPEED = 0.3  # rad/s on the way to the leader
APPROACHED = 0.02  # rad of distance in every joint that end the approach
SILENT = 0.05  # s without a sample after which the reference brakes; it goes on with the next sample
STOP_WITHIN = 0.2  # s from the highest speed to rest

GAIN = 15.0  # 1/s, of the distance to the leader
FEED_FORWARD = 0.6  # of the leader's own velocity; all of it would overshoot when a hand stops
VELOCITY_WINDOW = 0.05  # s of samples the leader's velocity is taken from
VELOCITY_AGE = 0.03  # s without a sample after which that velocity is no longer believed
BRAKING_SHARE = 0.8  # of the acceleration limit that arriving at the leader may use
SHARES = np.linspace(1.0, 0.0, 9)[:, None]  # of the way from braking to the wanted velocity, tried at an obstacle
BRAKING_TIMES = STOP_WITHIN * np.array((0.25, 0.5, 0.75, 1.0))  # s, after which the way to rest is looked at
TOLERANCE = 2 * CLOSE  # m
STANDSTILL = 1e-6  # rad/s
HISTORY = 1.0  # s of what was asked for that are kept; a chunk may be observed that long before a hand-back
FADE_SPEED = 0.1  # rad/s at most by which the offset of a take-over fades
FADE_MOTION = 0.2  # rad/s of the leader, in one joint, from which on it fades in full
CAUGHT = 0.005  # m between trigger and hand, within which the hand follows the trigger after a take-over


@dataclass(frozen=True)
class Limiting:
    """What kept the reference from the leader, since the start.

    periods: control periods planned. limited: those in which a limit was in the way, by its name: "velocity",
        "acceleration", "position", "workspace", "keep_out", "self_collision". lag: largest joint distance to the leader
        now, its offset counted in, rad.
    """

    periods: int
    limited: dict[str, int]
    lag: float


@dataclass(frozen=True)
class _Piece:
    """Constant acceleration from (q, dq) at `start`."""

    start: float
    q: Vector
    dq: Vector
    ddq: Vector

    def at(self, t: float) -> tuple[Vector, Vector]:
        u = max(t - self.start, 0.0)
        return self.q + u * (self.dq + u / 2 * self.ddq), self.dq + u * self.ddq


class Following:
    """Turns leader samples into one reference within the cell's limits. One thread at a time may call it."""

    _before: _Piece
    _piece: _Piece
    _past: deque[_Piece]
    _width: float

    def __init__(self, cell: Cell) -> None:
        arm = cell.arm
        self._names = arm.joint_names
        self._limits = limits = Limits(cell)
        self._lower, self._upper = limits.lower, limits.upper
        self._acceleration = limits.smooth
        self._velocity = np.minimum(limits.velocity, STOP_WITHIN * self._acceleration)
        self._max_width = cell.gripper.max_width
        self._period = 1.0 / arm.tracking.rate_hz
        self._space = Space(cell, RESERVE)
        self._fade = cell.leader.offset_fade if cell.leader is not None else 0.0

        self._leader_q = np.full(len(self._names), np.nan)  # as read
        self._leader_width = math.nan
        self._heard = -math.inf  # when that was read
        self._shown: deque[tuple[float, Vector]] = deque()  # of late, as read
        self._limited: Counter[str] = Counter()
        self._periods = 0
        self._piece: _Piece  # in force, or a period ahead
        self._before: _Piece
        self._past: deque[_Piece]  # all since `HISTORY`, the present one last
        self._width: float
        self.reset(0.0, np.array(arm.home), cell.gripper.max_width)

    def reset(self, now: float, q: Vector, width: float) -> None:
        """Rests at `q` (rad) with the gripper at `width` (m); goes to the leader slowly before following it."""
        self._begin(now, q, np.zeros(len(self._names)), width)
        self._offset = np.zeros(len(self._names))
        self._approaching, self._caught = True, True

    def join(self, now: float, q: Vector, dq: Vector, width: float) -> None:
        """Goes on from `q` (rad) at `dq` (rad/s), where `can_join`, by the leader's motion from here on.

        What the leader shows now stands for where braking leads. The gripper keeps its `width` (m) until the trigger
        has come there.
        """
        self._begin(now, q, dq, width)
        self._offset = q + self._period * dq + self._braking(dq)[-1] - self._leader_q
        self._approaching, self._caught = False, abs(self._leader_width - width) <= CAUGHT

    def can_join(self, q: Vector, dq: Vector) -> bool:
        """Whether the way to rest from `q` (rad) at `dq` (rad/s), one period later, keeps all limits."""
        ahead = q + self._period / 2 * dq
        lowest, highest = self._bounds(ahead)
        top = self._velocity
        within = ((dq >= np.maximum(lowest, -top)) & (dq <= np.minimum(highest, top))).all()
        return bool(within) and not self._first_free(q, ahead, dq[None])[1]

    def way(self) -> Curve:
        """What was asked for of late and, after the present period, the way to rest: it has been found free."""
        pieces, h = list(self._past), self._period
        while (np.abs(pieces[-1].at(pieces[-1].start + h)[1]) > STANDSTILL).any():
            t = pieces[-1].start + h
            q, dq = pieces[-1].at(t)
            pieces.append(_Piece(t, q, dq, -np.clip(dq / h, -self._acceleration, self._acceleration)))
        end = pieces[-1].start + h
        zero = np.zeros(len(self._names))
        pieces.append(_Piece(end, pieces[-1].at(end)[0], zero, zero))
        coefficients = [(piece.q, piece.dq, piece.ddq / 2, zero) for piece in pieces]
        return Curve(np.array([piece.start for piece in pieces]), np.array(coefficients))

    def release(self) -> None:
        """Lets go of the leader: brakes, and stays at rest until the next `reset`."""
        self._released = True

    def leader(self, now: float, q: Vector, width: float) -> None:
        """Takes joints (rad, [7]) and gripper width (m) that were read at `now`. Ignores old and non-finite ones."""
        if now <= self._heard or not (np.isfinite(q).all() and math.isfinite(width)):
            return
        self._heard, self._leader_q = now, np.array(q, dtype=float)
        before, self._leader_width = self._leader_width - self._width, min(max(width, 0.0), self._max_width)
        after = self._leader_width - self._width
        self._caught = self._caught or abs(after) <= CAUGHT or before * after < 0
        self._shown.append((now, self._leader_q))
        while self._shown[0][0] < now - VELOCITY_WINDOW:
            self._shown.popleft()

    def reference(self, now: float) -> Reference:
        """The reference at `now`, which may lie a period or two ahead, but not further back than that."""
        while now >= self._piece.start + self._period:
            self._before, self._piece = self._piece, self._next()
            self._past.append(self._piece)
            if self._past[0].start < self._piece.start - HISTORY:
                self._past.popleft()
        q, dq = (self._piece if now >= self._piece.start else self._before).at(now)
        return Reference(q, dq, self._width, sequence=None, step=-1, moving=bool((np.abs(dq) > STANDSTILL).any()))

    @property
    def approaching(self) -> bool:
        """Whether the arm is still on its slow way to the leader."""
        return self._approaching

    @property
    def gripping(self) -> bool:
        """Whether the hand follows the trigger."""
        return self._caught and not self._approaching

    @property
    def offset(self) -> Vector:
        """What the arm is asked for less what the leader shows, rad, [7]; zero unless it took over. It may fade."""
        return self._offset

    @property
    def heard(self) -> float:
        """When the newest sample of the leader was read, s; -inf before the first."""
        return self._heard

    @property
    def limiting(self) -> Limiting:
        """What kept the reference from the leader."""
        distance = np.abs(self._leader_q + self._offset - self._piece.q)
        return Limiting(self._periods, dict(self._limited), float(distance.max()))

    def misalignment(self, q: Vector) -> str:
        """Joints in which the leader is too far from an arm at `q` (rad) to begin, and how far; empty when none is."""
        return ", ".join(
            f"{name} by {abs(leader - arm):.2f} rad (leader {leader:.2f}, arm {arm:.2f})"
            for name, leader, arm in zip(self._names, self._leader_q, q, strict=True)
            if not abs(leader - arm) <= MAX_MISALIGNMENT
        )

    def _begin(self, now: float, q: Vector, dq: Vector, width: float) -> None:
        self._piece = self._before = _Piece(now, np.array(q, dtype=float), dq, np.zeros_like(dq))
        self._past = deque([self._piece])
        self._width = width
        self._released = False

    def _target(self, shown: Vector) -> Vector:
        """Where the arm is to be when the leader shows this: within the joint limits."""
        return np.clip(shown + self._offset, self._lower, self._upper)

    def _bounds(self, ahead: Vector) -> tuple[Vector, Vector]:
        """Lowest and highest velocity [7] at the end of a period from which braking ends within the joints' ends.

        ahead: where the period ends, less h/2 times that velocity.
        """
        h, a = self._period, self._acceleration
        # Whole periods of braking may go h^2 a / 8 further.
        below, above = ahead - self._lower - h * h * a / 8, self._upper - ahead - h * h * a / 8
        lowest, highest = self._limits.arrival(ahead, h)
        return np.maximum(lowest, -_arrival(below, a, h)), np.minimum(highest, _arrival(above, a, h))

    def _next(self) -> _Piece:
        """The piece after the present one: the velocity closest to the wanted one that all limits allow."""
        h, a = self._period, self._acceleration
        t = self._piece.start + h
        q, dq = self._piece.at(t)
        ahead = q + h / 2 * dq  # where a period ends is this plus h/2 times the velocity it ends with
        top = np.minimum(self._velocity, APPROACH_SPEED) if self._approaching else self._velocity

        wanted = self._wanted(t, q, ahead)
        slower = np.clip(wanted, -top, top)
        aside = np.clip(self._slide(ahead, slower), -top, top)
        bounded = np.clip(aside, *self._bounds(ahead))
        reached = np.clip(bounded, dq - h * a, dq + h * a)
        braked = dq - np.clip(dq, -h * a, h * a)
        tried = braked + SHARES * (reached - braked)
        share, obstacles = self._first_free(q, ahead, tried)

        limits = {
            "velocity": (slower != wanted).any() and not self._approaching,
            "workspace": (aside != slower).any() or "workspace" in obstacles,
            "position": (bounded != aside).any() or self._beyond(),
            "acceleration": (reached != bounded).any(),
            "keep_out": "keep_out" in obstacles,
            "self_collision": "self_collision" in obstacles,
        }
        self._limited.update(name for name, limited in limits.items() if limited)
        self._periods += 1
        return _Piece(t, q, dq, (tried[share] - dq) / h)

    def _wanted(self, t: float, q: Vector, ahead: Vector) -> Vector:
        """The velocity [7] that would bring the reference to the leader; zero when it is silent or was let go."""
        if self._released or not self._shown or t - self._heard > SILENT:
            return np.zeros_like(q)
        first, last = self._shown[0][0], self._shown[-1][0]
        moves = last > first and t - last <= VELOCITY_AGE
        if moves:
            self._fade_offset((self._shown[-1][1] - self._shown[0][1]) / (last - first))
        oldest, target = self._target(self._shown[0][1]), self._target(self._shown[-1][1])
        velocity = FEED_FORWARD * (target - oldest) / (last - first) if moves else np.zeros_like(q)
        distance = target + (t - last) * velocity - ahead
        if self._approaching and (np.abs(target - q) < APPROACHED).all():
            self._approaching = False
        if self.gripping:
            self._width = self._leader_width
        arriving = _arrival(np.abs(distance), BRAKING_SHARE * self._acceleration, self._period)
        return velocity + np.sign(distance) * np.minimum(GAIN * np.abs(distance), arriving)

    def _fade_offset(self, motion: Vector) -> None:
        """The offset a period later, where it fades: as far as the leader moves, at `motion` (rad/s, [7])."""
        if self._fade:
            share = min(float(np.abs(motion).max()) / FADE_MOTION, 1.0)
            fading = share * np.clip(self._offset / self._fade, -FADE_SPEED, FADE_SPEED)
            self._offset = self._offset - self._period * fading

    def _beyond(self) -> bool:
        """Whether the leader reaches beyond the joint limits."""
        shown = self._leader_q + self._offset
        return bool(self._shown) and bool((self._target(self._leader_q) != shown).any())

    def _slide(self, ahead: Vector, dq: Vector) -> Vector:
        """The velocity `dq` without what would lead through a wall of the workspace, along which the arm slides."""
        end = ahead + self._period / 2 * dq + self._braking(dq)[-1]
        way = self._space.nearest(end) - ahead
        if not self._space.outside(end) > CLOSE:
            return dq
        return np.sign(way) * _arrival(np.abs(way), self._acceleration, self._period)

    def _first_free(self, q: Vector, ahead: Vector, tried: Vector) -> tuple[int, set[str]]:
        """The first of the velocities `tried` [N, 7] that keeps to free space, and what forbids those before it.

        The last one is braking itself: its way was found to be free one period ago.
        """
        after = ahead + self._period / 2 * tried
        poses = np.concatenate((after[None], after + self._braking(tried)))
        first = self._space.look(poses[:, 0])
        too_near = self._space.parts.too_near
        if first.outside.max() <= TOLERANCE and not first.touching.any() and not too_near(first.distances).any():
            return 0, set()
        # An arm that is in the wrong place already may go where it is no worse.
        here, there = self._space.look(q), self._space.look(poses)
        bounds = {
            "workspace": there.outside.max(axis=0) > max(float(here.outside), TOLERANCE),
            "keep_out": there.intrusion.max(axis=0) > here.intrusion,
            "self_collision": too_near(there.distances, since=here.distances).any(axis=(0, -1)),
        }
        forbidden = np.any(list(bounds.values()), axis=0)
        share = len(tried) - 1 if forbidden.all() else int(forbidden.argmin())
        return share, {name for name, found in bounds.items() if found[0]}

    def _braking(self, dq: Vector) -> Vector:
        """Where braking from `dq` [..., 7] leads, at BRAKING_TIMES [T, ..., 7]; every joint uses its own limit."""
        u = np.minimum(BRAKING_TIMES.reshape(-1, *[1] * dq.ndim), np.abs(dq) / self._acceleration)
        return u * (dq - np.sign(dq) * u / 2 * self._acceleration)


def _arrival(distance: Vector, acceleration: Vector, h: float) -> Vector:
    """The highest velocity at the end of a period of `h` seconds from which one can brake before `distance`.

    distance: to go, less what the velocity at the beginning of the period covers. Solves
    h v / 2 + v^2 / (2 acceleration) = distance.
    """
    root = np.sqrt(h * h / 4 + 2 * np.maximum(distance, 0.0) / acceleration)
    return acceleration * (root - h / 2)
