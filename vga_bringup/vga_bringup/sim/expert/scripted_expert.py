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
from vga_bringup.sim.scene.objects import CUBE
from vga_bringup.sim.scene.snapshot import CAP_TOP, CellSnapshot, Seen
from vga_bringup.sim.scene.tasks import READY, TASKS, VEGETABLES, Arrangement, Skill

REACTION = 0.12  # s, time constant with which the eye follows an object
EMPTY = 0.004  # m; fingers closed to this hold nothing
WITHIN_REACH = 0.04  # m from the fingertips at which an object may be held

# A movement of d meters takes least + d / speed seconds.
FREE = (0.75, 0.24)
CAREFUL = (0.70, 0.11)
SQUEEZE = 0.25  # s in which the trigger is pulled or let go
GRIP = 0.45  # s from the pulled trigger to a firm grip

# Where an object is taken: meters along its x axis from its origin, and height above it.
GRASP_POINTS = {"cucumber": (0.0, 0.0), "carrot": (-0.028, 0.0), "eggplant": (0.032, 0.002)}
LOWEST = 0.013  # m; the fingers end 8 mm below the tool center point
PRESHAPE = {"cucumber": 0.065, "carrot": 0.065, "eggplant": 0.07}  # m; the neighbors are near
FINGERTIP = 0.008  # m from the tool center point to the fingers' ends
PRESS_DEPTH = 0.0115  # m the expert means to push the cap down
ABOVE_STACK = 0.055  # m between the cubes when they are lined up
DROP = 0.002  # m above contact at which a cube is let go

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
        self._arrangement = arrangement
        self._style = style
        self._inverse = InverseKinematics(cell.arm, np.array(READY))
        self._open = cell.gripper.max_width
        self._q = np.array(q, dtype=float)
        self._hand = self._inverse.pose(self._q)
        self._width = self._open
        self._snapshot: CellSnapshot | None = None
        self._eye: dict[str, Seen] = {}
        self._now = 0.0
        self._script = _SCRIPTS[TASKS[arrangement.task].skill](self)
        self.done = False

    def act(self, now: float, snapshot: CellSnapshot) -> Leader:
        """The leader's pose at `now` (s, increasing), given what is seen then. Holds still after the script's end."""
        self._look(now, snapshot)
        if not self.done and next(self._script, self) is self:
            self.done = True
        trembling = Pose(self._hand.rotation, self._hand.position + self._style.trembling(now))
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

    # The scripts.

    def _pick(self) -> Script:
        target = self._arrangement.target
        while True:
            yield from self._take(target)
            yield from self._raise(self._style.lift)
            if self._holds(target):
                return
            yield from self._pull(self._open)

    def _press(self) -> Script:
        yield from self._move(self._above("button", self._style.hover), FREE, width=0.0)
        yield from self._wait(self._style.hesitation)
        depth = PRESS_DEPTH
        while not self._seen.pressed:
            yield from self._move(self._on_button(depth), CAREFUL, until=lambda: self._seen.pressed)
            yield from self._wait(0.2, until=lambda: self._seen.pressed)
            depth += 0.003
        yield from self._raise(self._style.hover)

    def _stack(self) -> Script:
        upper, lower = self._arrangement.target, self._arrangement.support
        while True:
            yield from self._take(upper)
            yield from self._raise(self._style.lift)
            if self._holds(upper):
                yield from self._move(self._over(lower, ABOVE_STACK, self._style.aim), FREE)
                yield from self._wait(self._style.hesitation)
                yield from self._move(self._over(lower, DROP), CAREFUL)
            yield from self._pull(self._open)
            yield from self._raise(self._style.hover)
            if self._lies_on(upper, lower):
                return

    def _take(self, name: str) -> Script:
        """To the object, and grip it."""
        yield from self._move(self._above(name, self._style.hover), FREE, width=PRESHAPE.get(name, self._open))
        yield from self._wait(self._style.hesitation)
        yield from self._move(self._at(name), CAREFUL)
        yield from self._pull(0.0)
        yield from self._wait(GRIP)

    # What scripts are made of.

    def _move(
        self,
        goal: Goal,
        speed: tuple[float, float],
        width: float | None = None,
        until: Callable[[], bool] = lambda: False,
    ) -> Script:
        """Moves the hand to a goal, which may move, with minimum jerk; the trigger goes to `width` on the way."""
        start, start_width, began = self._hand, self._width, self._now
        way = goal().position - start.position
        turn = np.linalg.norm(rotation_vector(goal().rotation @ start.rotation.T))
        least, meters_per_second = speed
        duration = (least + max(float(np.linalg.norm(way)), 0.15 * float(turn)) / meters_per_second) / self._style.pace
        sideways = self._style.arc * np.array((-way[1], way[0], 0.0)) / max(float(np.linalg.norm(way)), 1e-9)
        while (share := (self._now - began) / duration) < 1.0 and not until():
            self._hand = _between(start, goal(), _minimum_jerk(share))
            if speed is FREE:
                self._hand = Pose(self._hand.rotation, self._hand.position + _bump(share) * sideways)
            if width is not None:
                self._width = start_width + _minimum_jerk(min(2 * share, 1.0)) * (width - start_width)
            yield
        if not until():
            self._hand = goal()

    def _raise(self, height: float) -> Script:
        """Moves the hand straight up."""
        top = Pose(self._hand.rotation, self._hand.position + np.array((0.0, 0.0, height)))
        yield from self._move(lambda: top, FREE)

    def _pull(self, width: float) -> Script:
        """Moves the trigger."""
        start, began = self._width, self._now
        while (share := (self._now - began) / SQUEEZE) < 1.0:
            self._width = start + share * (width - start)
            yield
        self._width = width
        yield

    def _wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> Script:
        began = self._now
        while self._now - began < seconds and not until():
            yield

    # Goals: poses of the hand that follow what is seen.

    def _at(self, name: str) -> Goal:
        """The fingers around an object."""

        def goal() -> Pose:
            seen, (along, up) = self._eye[name], GRASP_POINTS.get(name, (0.0, -0.003))
            along += self._style.grasp[0]
            x, y, z = seen.position
            x, y = x + along * np.cos(seen.heading), y + along * np.sin(seen.heading)
            return Pose(_downwards(self._yaw(name)), np.array((x, y, max(z + up + self._style.grasp[1], LOWEST))))

        return goal

    def _above(self, name: str, height: float) -> Goal:
        """Lined up above an object, as well as the expert aims."""
        around = self._at(name)

        def goal() -> Pose:
            yaw = self._yaw(name) + self._style.turn
            return Pose(_downwards(yaw), around().position + np.array((*self._style.aim, height)))

        return goal

    def _on_button(self, depth: float) -> Goal:
        """The closed fingers' ends `depth` below where the cap's top is at rest."""

        def goal() -> Pose:
            x, y, _ = self._eye["button"].position
            return Pose(_downwards(self._yaw("button")), np.array((x, y, CAP_TOP + FINGERTIP - depth)))

        return goal

    def _over(self, name: str, gap: float, aim: Array | None = None) -> Goal:
        """The held cube above another one, `gap` between them, turned as that one is."""
        held = self._eye[self._arrangement.target].position - self._hand.position  # as it lies in the hand

        def goal() -> Pose:
            x, y, z = self._eye[name].position + np.array((0.0, 0.0, CUBE + gap)) - held
            sideways = np.zeros(2) if aim is None else aim
            return Pose(_downwards(self._yaw(name)), np.array((x + sideways[0], y + sideways[1], z)))

        return goal

    def _yaw(self, name: str) -> float:
        """The hand's yaw for an object. Of the equivalent ones always that between -135 and 45 degrees."""
        period = np.pi if name in VEGETABLES else np.pi / 2
        yaw = self._eye[name].heading
        lowest = -3 * np.pi / 4 if name in VEGETABLES else -np.pi / 4
        return (yaw - lowest) % period + lowest

    # What the expert concludes from what it sees.

    @property
    def _seen(self) -> CellSnapshot:
        assert self._snapshot is not None, "scripts run in act() alone"
        return self._snapshot

    def _holds(self, name: str) -> bool:
        """Whether something is between the fingers and the object is there."""
        hand = self._inverse.pose(self._seen.q).position
        seen = self._seen.objects[name]
        along = GRASP_POINTS.get(name, (0.0, 0.0))[0]
        point = seen.position + along * np.array((np.cos(seen.heading), np.sin(seen.heading), 0.0))
        return self._seen.width > EMPTY and float(np.linalg.norm(hand - point)) < WITHIN_REACH

    def _lies_on(self, upper: str, lower: str) -> bool:
        x, y, z = self._seen.objects[upper].position - self._seen.objects[lower].position
        return abs(z - CUBE) < CUBE / 4 and float(np.hypot(x, y)) < CUBE / 2


_SCRIPTS: dict[Skill, Callable[[ScriptedExpert], Script]] = {
    Skill.PICK: ScriptedExpert._pick,
    Skill.PRESS: ScriptedExpert._press,
    Skill.STACK: ScriptedExpert._stack,
}


def _downwards(yaw: float) -> Array:
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
