"""What disturbs a demonstration, so that recovery is demonstrated as well: odd starts, bad aim, pushes.

The labels of a disturbed demonstration are the expert's answers to the disturbance, never the disturbance itself:
the leader is not pushed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from vga_policy.cell.schema import Arm

from vga_bringup.robot.bounds.kinematics import Array, Pose, rotation
from vga_bringup.sim.expert.inverse import InverseKinematics
from vga_bringup.sim.expert.style import random_for
from vga_bringup.sim.scene.task import READY, Arrangement

# Where the hand may start (m), pointing down, and how far it may be turned (rad).
START_LOW, START_HIGH, START_TURN = (0.34, -0.28, 0.16), (0.60, 0.28, 0.45), 0.6
SHOVE = (20.0, 45.0)  # N
SHOVE_LASTS = 0.25  # s
NUDGE = (0.12, 0.25)  # m/s
NUDGE_LASTS = 0.2  # s
NUDGE_WITHIN = 3.0  # s; later the object may be in the hand
MIDDLE = (0.50, 0.0)  # of the table, m; objects are nudged towards it, more or less


@dataclass(frozen=True)
class Event:
    """Something that happens from `begin` to `end` (s). vector: N or m/s [3]."""

    begin: float
    end: float
    vector: tuple[float, float, float]


@dataclass(frozen=True)
class Disturbance:
    """What happens in one demonstration. clumsy: the expert aims badly. arm_start: joint angles, rad, or None."""

    arm_start: tuple[float, ...] | None
    clumsy: bool
    shoves: tuple[Event, ...]
    nudges: tuple[Event, ...]

    @classmethod
    def of(cls, arrangement: Arrangement, arm: Arm) -> Disturbance:
        """The disturbances of one trial.

        Each kind of disturbance happens in half of the demonstrations; nudges in a third, and only to what
        stays where it is pushed to: a vegetable would roll away, and the button is screwed to the table.
        """
        random = random_for("disturbance", arrangement.task, arrangement.seed)
        kinds = random.random(4)
        start = _start(random, arm) if kinds[0] < 0.5 else None
        shoves = (_shove(random), _shove(random)) if kinds[2] < 0.5 else ()
        nudged = kinds[3] < 1 / 3 and arrangement.definition.objects[arrangement.target].nudged
        nudges = (_nudge(random, arrangement),) if nudged else ()
        return cls(start, bool(kinds[1] < 0.5), shoves, nudges)

    def force(self, now: float) -> tuple[float, float, float]:
        """What pushes the hand at `now`, N."""
        return _vector(self.shoves, now) or (0.0, 0.0, 0.0)

    def velocity(self, now: float) -> tuple[float, float, float] | None:
        """How fast the target is being pushed along the table at `now`, m/s; None when it is left alone."""
        return _vector(self.nudges, now)


def _vector(events: tuple[Event, ...], now: float) -> tuple[float, float, float] | None:
    return next((event.vector for event in events if event.begin <= now < event.end), None)


def _start(random: Generator, arm: Arm) -> tuple[float, ...]:
    turned = rotation(yaw=random.uniform(-START_TURN, START_TURN)) @ np.diag((1.0, -1.0, -1.0))
    pose = Pose(turned, random.uniform(START_LOW, START_HIGH))
    inverse = InverseKinematics(arm, np.array(READY))
    q: Array = np.array(READY)
    for _ in range(5):
        q = inverse.solve(q, pose)
    return tuple(q.tolist())


def _shove(random: Generator) -> Event:
    begin, angle, force = random.uniform(0.5, 5.0), random.uniform(0, 2 * np.pi), random.uniform(*SHOVE)
    vector = (force * np.cos(angle), force * np.sin(angle), random.uniform(0.0, SHOVE[0]))
    return Event(begin, begin + SHOVE_LASTS, vector)


def _nudge(random: Generator, arrangement: Arrangement) -> Event:
    begin, speed = random.uniform(0.3, NUDGE_WITHIN), random.uniform(*NUDGE)
    placed = arrangement.placements[arrangement.target]
    angle = np.arctan2(MIDDLE[1] - placed.y, MIDDLE[0] - placed.x) + random.uniform(-1.2, 1.2)
    return Event(begin, begin + NUDGE_LASTS, (speed * np.cos(angle), speed * np.sin(angle), 0.0))
