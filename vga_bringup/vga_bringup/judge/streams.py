"""References of the driver's own parts in simulated time, at 1 kHz: what the arm would be asked to do, without an arm.

The same motions as in the live scenarios (judge.motions), through filter and executor, following and homing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell
from vga_policy.message_constants import Mode

from vga_bringup.judge.motions import ELSEWHERE, ChunkSource, Curve, RandomChunks, TowardEnd, ends, leader
from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.motion.following import Following
from vga_bringup.robot.motion.homing import WayHome
from vga_bringup.robot.safety.safety_filter import Context, SafetyFilter
from vga_bringup.robot.submission import submit
from vga_bringup.robot.types import ChunkRequest

Vector = NDArray[np.float64]

DT = 1e-3  # s, between samples
GOAL = bytes(16)
BEGIN = 100.0  # s, when every stream begins
REST = 3.0  # s in which any motion comes to rest
STILL = 1e-9  # rad/s
LAG = (0.02, 0.15)  # s from a chunk's observation to its arrival
LONGEST = 60.0  # s of chunks
GIVE_UP = 3  # chunks refused in a row after which a stream ends
LEADER_PERIOD = 0.01  # s between the leader's samples
BEYOND = 0.3  # rad that the leader reaches beyond a joint's end


@dataclass(frozen=True, eq=False)
class Stream:
    """A reference, from rest to rest. q, dq: [N, 7] every millisecond, rad and rad/s. accepted: chunks executed."""

    name: str
    q: Vector
    dq: Vector
    accepted: int = 0

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return len(self.q) * DT

    def at(self, t: float) -> tuple[Vector, Vector]:
        """Position and velocity [7] at `t` (s from its beginning); at rest afterwards."""
        if t >= self.seconds:
            return self.q[-1], np.zeros(7)
        index = max(0, int(t / DT + 0.5))
        return self.q[min(index, len(self.q) - 1)], self.dq[min(index, len(self.q) - 1)]


def all_streams(cell: Cell, rng: np.random.Generator, amount: float = 1.0) -> Iterator[Stream]:
    """Every kind of motion. amount: share of the full number of random ones."""

    def times(count: int) -> range:
        return range(max(1, round(count * amount)))

    home = np.array(cell.arm.home)
    yield chunks("random chunks", cell, home, RandomChunks(cell, rng), rng, accept=len(times(220)))
    for _ in times(12):
        source = RandomChunks(cell, rng)
        yield chunks("random chunks, stopped", cell, home, source, rng, stop_after=rng.uniform(0.3, 2.0))
    for end in ends(cell):
        for run in times(10):
            stopped = run >= 6
            far = rng.uniform(0.3, 1.0) * (end.posture - end.start)
            source_to = TowardEnd(cell, end, *rng.uniform((0.6, 0.3, 0.6), (0.99, 0.95, 1.1)))
            stop_after = rng.uniform(0.3, 1.6) if stopped else None
            name = "chunks to the ends" + (", stopped" if stopped else "")
            yield chunks(name, cell, end.posture - far, source_to, rng, stop_after=stop_after)
        about = RandomChunks(cell, rng, end.posture)
        near = end.posture - 0.3 * (end.posture - end.start)
        yield chunks("random chunks at the ends", cell, near, about, rng, stop_after=rng.uniform(0.5, 2.0))
        yield homing("homing to the ends", cell, end.start, end.posture)
        yield homing("homing, stopped", cell, end.start, end.posture, brake_after=rng.uniform(0.2, 1.2))
        yield teleoperation("leader beyond the ends", cell, end.start, _beyond(end.start, end.posture), 3.0)
    for posture in map(np.array, ELSEWHERE):
        yield homing("homing", cell, home, posture)
    for _ in times(2):
        yield teleoperation("leader jumps and shakes", cell, home, leader(cell, rng, 12.0), 12.0)


def chunks(
    name: str,
    cell: Cell,
    q: Vector,
    source: ChunkSource,
    rng: np.random.Generator,
    accept: int = 2**31,
    stop_after: float | None = None,
) -> Stream:
    """Chunks of `source` from rest at `q`, every period of the policy, until so many are accepted or some refused.

    stop_after: s after which the reference is stopped.
    """
    executor, safety = Executor(cell), SafetyFilter(cell)
    executor.reset(BEGIN, q, cell.gripper.max_width)
    sampled = _Samples()
    now, sequence, accepted, refused, newest = BEGIN, 0, 0, 0, BEGIN - 1.0
    end = BEGIN + (LONGEST if stop_after is None else stop_after)
    while accepted < accept and refused < GIVE_UP and now < end:
        lag = min(rng.uniform(*LAG), now - newest - DT)
        newest, taken = now - lag, False
        reference = executor.reference(now)
        for joints in source.tries(reference.q, reference.dq, lag):
            sequence += 1
            request = _request(cell, newest, sequence, joints)
            if taken := submit(executor, safety, request, Context(now, Mode.POLICY, GOAL)).accepted:
                break
        accepted, refused = accepted + taken, 0 if taken else refused + 1
        until = min(now + cell.dt, end)
        sampled.take(lambda t: _state(executor, t), now, until)
        now = until
    if stop_after is not None:
        executor.stop(now)
    sampled.take(lambda t: _state(executor, t), now, now + REST, to_rest=True)
    return sampled.stream(name, accepted)


def teleoperation(name: str, cell: Cell, q: Vector, curve: Curve, seconds: float) -> Stream:
    """The leader along `curve`, from where the arm rests at `q`, and let go at the end."""
    following = Following(cell)
    following.reset(BEGIN, q, cell.gripper.max_width)
    sampled = _Samples()
    for now in np.arange(BEGIN, BEGIN + seconds, LEADER_PERIOD):
        following.leader(now, curve(now - BEGIN), cell.gripper.max_width)
        sampled.take(lambda t: _state(following, t), now, now + LEADER_PERIOD)
    following.release()
    sampled.take(lambda t: _state(following, t), BEGIN + seconds, BEGIN + seconds + REST, to_rest=True)
    return sampled.stream(name)


def homing(
    name: str, cell: Cell, q: Vector, goal: Vector, speed: float = 1.0, brake_after: float | None = None
) -> Stream:
    """The way from rest at `q` to `goal`. brake_after: s after which it is stopped."""
    way = WayHome(Limits(cell), q, goal, speed, BEGIN)
    end = way.ends
    if brake_after is not None:
        way.brake(BEGIN + brake_after)
        end += REST
    sampled = _Samples()
    sampled.take(way.reference, BEGIN, end + DT)
    return sampled.stream(name)


class _Samples:
    """Gathers a reference every millisecond."""

    def __init__(self) -> None:
        self._q: list[Vector] = []
        self._dq: list[Vector] = []

    def take(
        self, reference: Callable[[float], tuple[Vector, Vector]], t: float, until: float, to_rest: bool = False
    ) -> None:
        """Samples from `t` on, before `until`. to_rest: until it rests, if that comes earlier."""
        for moment in BEGIN + DT * np.arange(round((t - BEGIN) / DT), round((until - BEGIN) / DT)):
            q, dq = reference(float(moment))
            self._q.append(np.array(q))
            self._dq.append(np.array(dq))
            if to_rest and (np.abs(dq) < STILL).all():
                return

    def stream(self, name: str, accepted: int = 0) -> Stream:
        return Stream(name, np.array(self._q), np.array(self._dq), accepted)


def _state(source: Executor | Following, t: float) -> tuple[Vector, Vector]:
    reference = source.reference(t)
    return reference.q, reference.dq


def _beyond(start: Vector, posture: Vector) -> Curve:
    """A leader that waits at `start`, then jumps beyond `posture`."""
    target = posture + BEYOND * np.sign(posture - start)
    return lambda t: start if t < 0.5 else target


def _request(cell: Cell, t_obs: float, sequence: int, joints: Vector) -> ChunkRequest:
    horizon, width = cell.action.horizon, cell.gripper.max_width
    due = (cell.dt * np.arange(1, horizon + 1)).tolist()
    return ChunkRequest(t_obs, GOAL, sequence, cell.arm.joint_names, joints.tolist(), due, [width] * horizon)
