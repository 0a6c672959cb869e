"""Joint motion as one piecewise cubic curve in time, and the few curves the executor is made of.

Times are seconds, joints are radians. Curves are immutable.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BRAKE_STEP = 0.01  # s
PACES = np.linspace(0.0, 1.0, 65)  # of the present pace, tried when braking
STANDSTILL = 1e-6  # rad/s


class Curve:
    """A piecewise cubic: piece i holds from starts[i] to starts[i+1], the last one for ever.

    starts: float64 [N], ascending. coefficients: float64 [N, 4, J]; in piece i, with u = t - starts[i],
    q(t) = c0 + c1 u + c2 u^2 + c3 u^3. Before starts[0] the curve stands still at its first value.
    """

    def __init__(self, starts: Array, coefficients: Array) -> None:
        self.starts = starts
        self.coefficients = coefficients
        self._starts: list[float] = starts.tolist()  # for one value, bisect is faster than np.searchsorted

    def at(self, t: float) -> tuple[Array, Array]:
        """Position [J] and velocity [J] at one instant; where pieces meet, those of the later piece."""
        i = bisect_right(self._starts, t) - 1
        if i < 0:
            return self.coefficients[0, 0].copy(), np.zeros(self.coefficients.shape[2])
        u = t - self._starts[i]
        q, dq = np.array(((1.0, u, u * u, u * u * u), (0.0, 1.0, 2 * u, 3 * u * u))) @ self.coefficients[i]
        return q, dq

    def expanded(self, times: Array) -> Array:
        """Coefficients [N, 4, J] of the pieces in force at `times` [N], moved there; none may lie before the start."""
        i = np.searchsorted(self.starts, times, side="right") - 1
        c0, c1, c2, c3 = np.moveaxis(self.coefficients[i], 1, 0)
        u = (times - self.starts[i])[:, None]
        return np.stack(
            (c0 + u * (c1 + u * (c2 + u * c3)), c1 + u * (2 * c2 + 3 * u * c3), c2 + 3 * u * c3, c3), axis=1
        )

    def sample(self, times: Array) -> tuple[Array, Array, Array]:
        """Position, velocity and acceleration, each [N, J], at `times` [N], none of them before the start."""
        local = self.expanded(times)
        return local[:, 0], local[:, 1], 2 * local[:, 2]

    def after(self, t: float) -> Curve:
        """The same curve, beginning at `t` if it began earlier."""
        if t <= self._starts[0]:
            return self
        starts = np.concatenate(((t,), self.starts[bisect_right(self._starts, t) :]))
        return Curve(starts, self.expanded(starts))

    def then(self, t: float, other: Curve) -> Curve:
        """This curve before `t` and `other`, which begins no later than `t`, from then on."""
        kept = int(np.searchsorted(self.starts, t))
        other = other.after(t)
        return Curve(
            np.concatenate((self.starts[:kept], other.starts)),
            np.concatenate((self.coefficients[:kept], other.coefficients)),
        )

    def __add__(self, other: Curve) -> Curve:
        """The sum of both, beginning where the later one does."""
        starts = merged(max(self._starts[0], other._starts[0]), (*self._starts, *other._starts))
        return Curve(starts, self.expanded(starts) + other.expanded(starts))


def merged(begin: float, times: Iterable[float]) -> Array:
    """`begin` and the later ones of `times`, ascending, each once."""
    # Not np.unique: its first call imports numpy.ma, which would hold up the control thread for 10 ms and more.
    return np.array(sorted({begin, *(t for t in times if t > begin)}))


def rest(t: float, q: Array) -> Curve:
    """Standing still at `q` [J] from `t` on."""
    coefficients = np.zeros((1, 4, len(q)))
    coefficients[0, 0] = q
    return Curve(np.array((t,)), coefficients)


def spline(t: float, dt: float, q: Array, start_velocity: Array, bend: Array) -> Curve:
    """The cubic Hermite spline through q[k] [K+1, J], due at t + k dt, K >= 2.

    It starts with `start_velocity` [J], as far as that bends the first piece by no more than `bend` [J] (rad/s^2);
    beyond that with a velocity nearer to its own (a chunk in full motion may be given to an arm that stands still).
    Velocities between are central differences: the curve between two steps depends on four steps only, and
    resampled from a smooth motion it differs from it by O(dt^4) there. They are not limited to be monotone, since
    that flattens every turning point between two steps; as the curve may overshoot a corner of the steps,
    limits must be checked on the curve. The end velocity is the last difference, so that the next chunk goes on
    smoothly. The last piece goes on beyond its end.
    """
    slopes = np.diff(q, axis=0) / dt
    own = (3 * slopes[0] - slopes[1]) / 2  # of the parabola through the first three points
    start = np.clip(start_velocity, own - bend * dt / 4, own + bend * dt / 4)
    v = np.concatenate((start[None], (slopes[:-1] + slopes[1:]) / 2, slopes[-1:]))
    return Curve(t + dt * np.arange(float(len(slopes))), _hermite(dt, q[:-1], q[1:], v[:-1], v[1:]))


def fade(t: float, q: Array, dq: Array, acceleration: Array, least: float, most: float) -> Curve:
    """From offset `q` [J] and its velocity `dq` [J] smoothly to nothing.

    Takes `least` seconds, or longer, up to `most`, where that would need more than `acceleration` [J] (rad/s^2).
    """
    # |acceleration| of the cubic is largest at an end and at most 6 |q| / T^2 + 4 |dq| / T; solved for T.
    needed = (2 * np.abs(dq) + np.sqrt(4 * dq * dq + 6 * acceleration * np.abs(q))) / acceleration
    duration = min(max(least, float(needed.max())), most)
    zero = np.zeros((1, len(q)))
    moving = _hermite(duration, q[None], zero, dq[None], zero)
    return Curve(np.array((t, t + duration)), np.concatenate((moving, np.zeros_like(moving))))


def stop(t: float, q: Array, dq: Array, deceleration: Array) -> Curve:
    """From `q`, `dq` [J] straight to rest, all joints at once, none harder than `deceleration` [J] (rad/s^2)."""
    duration = float((np.abs(dq) / deceleration).max())
    if duration == 0:
        return rest(t, q)
    coefficients = np.zeros((2, 4, len(q)))
    coefficients[0, 0], coefficients[0, 1], coefficients[0, 2] = q, dq, -dq / (2 * duration)
    coefficients[1, 0] = q + duration / 2 * dq
    return Curve(np.array((t, t + duration)), coefficients)


def brake(path: Curve, t: float, acceleration: Array) -> Curve:
    """Along `path`, which ends at rest, ever more slowly from `t` on, until it rests.

    As hard as `acceleration` [J] (rad/s^2) allows; where the path itself asks for more, as the path does. Where it
    leads, and how fast at most, was the path's before: what holds along all of `path` holds for every stop on it.
    """
    moment, pace = t, 1.0  # where on the path, and how fast that passes
    q, dq = path.at(t)
    starts, pieces = [], []
    while np.abs(dq).max() > STANDSTILL:
        paces = pace * PACES
        moments = moment + BRAKE_STEP / 2 * (pace + paces)
        velocities = paces[:, None] * path.sample(moments)[1]
        needed = (np.abs(velocities - dq) / acceleration).max(axis=1)
        enough = needed <= BRAKE_STEP
        chosen = int(enough.argmax() if enough.any() else needed.argmin())
        ddq = (velocities[chosen] - dq) / BRAKE_STEP
        starts.append(t)
        pieces.append((q, dq, ddq / 2, np.zeros_like(q)))
        q, dq = q + BRAKE_STEP / 2 * (dq + velocities[chosen]), velocities[chosen]
        moment, pace, t = moments[chosen], paces[chosen], t + BRAKE_STEP
    return Curve(np.array((*starts, t)), np.array((*pieces, (q, *np.zeros((3, len(q)))))))


def _hermite(h: float, q0: Array, q1: Array, v0: Array, v1: Array) -> Array:
    """Coefficients [N, 4, J] of the cubics from (q0, v0) to (q1, v1), each [N, J], in `h` seconds."""
    slope = (q1 - q0) / h
    return np.stack((q0, v0, (3 * slope - 2 * v0 - v1) / h, (v0 + v1 - 2 * slope) / (h * h)), axis=1)
