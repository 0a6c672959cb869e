"""The scripted expert of the leader arm. It sees the cell and moves its hand; it knows no time but what it is told.

What it does is written down as a script for each skill: a generator that yields once for every snapshot of the cell.
It looks where the objects are all the time, with a person's delay, and tries again when a grasp has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from vga_policy.cell.schema import Cell

from vga_bringup.robot.bounds.kinematics import Array, Pose, rotation
from vga_bringup.sim.expert.inverse import InverseKinematics, from_rotation_vector, rotation_vector
from vga_bringup.sim.expert.style import Style
from vga_bringup.sim.scene.snapshot import CellSnapshot, Seen
from vga_bringup.sim.scene.task import READY, Arrangement, blaming

REACTION = 0.12  # s, time constant with which the eye follows an object
EMPTY = 0.004  # m; fingers closed to this hold nothing
WITHIN_REACH = 0.04  # m from the fingertips at which an object may be held

# A movement of d meters takes least + d / speed seconds.
FREE = (0.75, 0.24)
CAREFUL = (0.70, 0.11)
SQUEEZE = 0.25  # s in which the trigger is pulled or let go
GRIP = 0.45  # s from the pulled trigger to a firm grip

LOWEST = 0.013  # m; the fingers end 8 mm below the tool center point

Goal = Callable[[], Pose]
Script = Iterator[None]


class Leader(NamedTuple):
    """The leader's joint angles q [7] (rad) and the opening its trigger asks for (m)."""

    q: Array
    width: float


class ScriptedExpert:
    """Demonstrates one arrangement.

    The same snapshots at the same times with the same style give the same motion. `style` and `q`, the joint angles
    (rad) the leader is at when the demonstration begins, are its only other inputs.
    """

    def __init__(self, cell: Cell, arrangement: Arrangement, style: Style, q: Array) -> None:
        self._task = arrangement.task
        self._objects = arrangement.definition.objects
        self.style = style
        self._inverse = InverseKinematics(cell.arm, np.array(READY))
        self.open = cell.gripper.max_width
        self._q = np.array(q, dtype=float)
        self.hand = self._inverse.pose(self._q)
        self._width = self.open
        self._snapshot: CellSnapshot | None = None
        self._eye: dict[str, Seen] = {}
        self._now = 0.0
        self._script = arrangement.definition.demonstrate(self, arrangement)
        self.done = False

    def act(self, now: float, snapshot: CellSnapshot) -> Leader:
        """The leader's pose at `now` (s, increasing), given what is seen then. Holds still after the script's end."""
        self._look(now, snapshot)
        with blaming(self._task, "demonstrate"):
            if not self.done and next(self._script, self) is self:
                self.done = True
        trembling = Pose(self.hand.rotation, self.hand.position + self.style.trembling(now))
        self._q = self._inverse.solve(self._q, trembling)
        return Leader(self._q.copy(), self._width)

    def _look(self, now: float, snapshot: CellSnapshot) -> None:
        elapsed = now - self._now if self._snapshot is not None else np.inf
        share = 1.0 - float(np.exp(-elapsed / REACTION))
        for name, seen in snapshot.objects.items():
            known = self._eye.get(name, seen)
            turned = (seen.heading - known.heading + np.pi) % (2 * np.pi) - np.pi
            position = known.position + share * (seen.position - known.position)
            self._eye[name] = Seen(position, known.heading + share * turned)
        self._now, self._snapshot = now, snapshot

    # What scripts are made of. Each is a generator: `yield from` it.

    def take(self, name: str) -> Script:
        """To the object, and grip it."""
        yield from self.move(self.above(name, self.style.hover), FREE, width=self._objects[name].opening or self.open)
        yield from self.wait(self.style.hesitation)
        yield from self.move(self.at(name), CAREFUL)
        yield from self.pull(0.0)
        yield from self.wait(GRIP)

    def move(
        self,
        goal: Goal,
        speed: tuple[float, float] = FREE,
        width: float | None = None,
        until: Callable[[], bool] = lambda: False,
    ) -> Script:
        """Moves the hand to a goal, which may move, with minimum jerk; the trigger goes to `width` on the way."""
        start, start_width, began = self.hand, self._width, self._now
        way = goal().position - start.position
        turn = np.linalg.norm(rotation_vector(goal().rotation @ start.rotation.T))
        least, meters_per_second = speed
        duration = (least + max(float(np.linalg.norm(way)), 0.15 * float(turn)) / meters_per_second) / self.style.pace
        sideways = self.style.arc * np.array((-way[1], way[0], 0.0)) / max(float(np.linalg.norm(way)), 1e-9)
        while (share := (self._now - began) / duration) < 1.0 and not until():
            self.hand = _between(start, goal(), _minimum_jerk(share))
            if speed is FREE:
                self.hand = Pose(self.hand.rotation, self.hand.position + _bump(share) * sideways)
            if width is not None:
                self._width = start_width + _minimum_jerk(min(2 * share, 1.0)) * (width - start_width)
            yield
        if not until():
            self.hand = goal()

    def rise(self, height: float) -> Script:
        """Moves the hand straight up."""
        top = Pose(self.hand.rotation, self.hand.position + np.array((0.0, 0.0, height)))
        yield from self.move(lambda: top, FREE)

    def pull(self, width: float) -> Script:
        """Moves the trigger."""
        start, began = self._width, self._now
        while (share := (self._now - began) / SQUEEZE) < 1.0:
            self._width = start + share * (width - start)
            yield
        self._width = width
        yield

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> Script:
        """Keeps still."""
        began = self._now
        while self._now - began < seconds and not until():
            yield

    # Goals: poses of the hand that follow what is seen.

    def at(self, name: str) -> Goal:
        """The fingers around an object."""

        def goal() -> Pose:
            seen, (along, up) = self._eye[name], self._objects[name].grasp
            along += self.style.grasp[0]
            x, y, z = seen.position
            x, y = x + along * np.cos(seen.heading), y + along * np.sin(seen.heading)
            return Pose(downwards(self.yaw(name)), np.array((x, y, max(z + up + self.style.grasp[1], LOWEST))))

        return goal

    def above(self, name: str, height: float) -> Goal:
        """Lined up above an object, as well as the expert aims."""
        around = self.at(name)

        def goal() -> Pose:
            yaw = self.yaw(name) + self.style.turn
            return Pose(downwards(yaw), around().position + np.array((*self.style.aim, height)))

        return goal

    def over(self, held: str, name: str, gap: float, aim: Array | None = None) -> Goal:
        """The object that is held above another one, `gap` (m) between them, turned as that one is.

        aim: sideways error [2], m.
        """
        in_hand = self._eye[held].position - self.hand.position  # as it lies in the hand
        height = self._objects[held].height + self._objects[name].height

        def goal() -> Pose:
            x, y, z = self._eye[name].position + np.array((0.0, 0.0, height + gap)) - in_hand
            sideways = np.zeros(2) if aim is None else aim
            return Pose(downwards(self.yaw(name)), np.array((x + sideways[0], y + sideways[1], z)))

        return goal

    def to(self, x: float, y: float, z: float, yaw: float = 0.0) -> Goal:
        """The fingertips at a place (m, arm's base frame), the hand pointing down, turned by `yaw` (rad)."""
        pose = Pose(downwards(yaw), np.array((x, y, max(z, LOWEST))))
        return lambda: pose

    def yaw(self, name: str) -> float:
        """The hand's yaw for an object (rad). Of the equivalent ones always the one that ends at 45 degrees."""
        period = 2 * np.pi / self._objects[name].turns
        lowest = np.pi / 4 - period
        return float((self._eye[name].heading - lowest) % period + lowest)

    # What the expert concludes from what it sees.

    @property
    def seen(self) -> CellSnapshot:
        """The cell as it is now."""
        assert self._snapshot is not None, "scripts run in act() alone"
        return self._snapshot

    def eye(self, name: str) -> Seen:
        """Where an object is as far as the expert knows: its eye follows with a delay."""
        return self._eye[name]

    def holds(self, name: str) -> bool:
        """Whether something is between the fingers and the object is there."""
        hand = self._inverse.pose(self.seen.q).position
        seen = self.seen.objects[name]
        along = self._objects[name].grasp[0]
        point = seen.position + along * np.array((np.cos(seen.heading), np.sin(seen.heading), 0.0))
        return self.seen.width > EMPTY and float(np.linalg.norm(hand - point)) < WITHIN_REACH


def downwards(yaw: float) -> Array:
    """Rotation [3, 3] of a hand that points down, its x axis turned by `yaw` from the base's."""
    return rotation(yaw=yaw) @ np.diag((1.0, -1.0, -1.0))


def _minimum_jerk(share: float) -> float:
    return share**3 * (10 - 15 * share + 6 * share**2)


def _bump(share: float) -> float:
    """0 at both ends of a movement, with level tangents, and 1 in the middle."""
    return 16 * share**2 * (1 - share) ** 2


def _between(start: Pose, goal: Pose, share: float) -> Pose:
    turned = from_rotation_vector(share * rotation_vector(goal.rotation @ start.rotation.T))
    return Pose(turned @ start.rotation, start.position + share * (goal.position - start.position))
