"""The simulated leader moved by a person's keys: what they ask for, and where the leader's hand is then.

A terminal tells when a key is pressed, and again and again while it is held, but never when it is let go. So every
press counts for a moment, and a key that is held repeats itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vga_policy.cell.schema import Cell

from vga_bringup.robot.bounds.kinematics import Array, Pose, rotation
from vga_bringup.sim.expert.inverse import InverseKinematics
from vga_bringup.sim.expert.scripted_expert import LOWEST, Leader
from vga_bringup.sim.scene.task import READY

MOMENT = 0.15  # s that a press counts; terminals repeat a held key every 0.03 s or so
FINE = 0.25  # share of the speed with a capital letter

SPEED = 0.15  # m/s
ACCELERATION = 0.6  # m/s^2
TURN_SPEED = 0.8  # rad/s
TURN_ACCELERATION = 3.2  # rad/s^2
HAND_SPEED = 0.1  # m/s of the opening
LONGEST_STEP = 0.05  # s of motion at once, after a hold-up
LOST = 0.01  # m from where the hand is meant to be: the arm does not reach that far

AXES = ("x", "y", "z", "yaw")
_KEYS = {
    "w": (0, 1.0), "s": (0, -1.0), "a": (1, 1.0), "d": (1, -1.0), "r": (2, 1.0), "f": (2, -1.0),
    "q": (3, 1.0), "e": (3, -1.0), "\x1b[A": (0, 1.0), "\x1b[B": (0, -1.0), "\x1b[D": (1, 1.0), "\x1b[C": (1, -1.0),
}  # fmt: skip
_HAND, _STOP = " ", "x"
_ONE_KEY = re.compile(r"\x1b\[[A-Z]|.", re.DOTALL)

HELP = """\
  w s  or up, down      forward, back           q e   turn left, right
  a d  or left, right   left, right             space close or open the hand
  r f                   up, down                x     stop
  as the arm sees it; capital letters: slowly; a press is a short step, a held key moves on; Ctrl-C ends"""


@dataclass(frozen=True)
class Wish:
    """What is asked of the hand. axes: of AXES, as shares (-1..1) of full speed, in the arm's base frame."""

    axes: tuple[float, ...] = (0.0,) * len(AXES)
    closed: bool = False


class Keys:
    """The keys as a wish."""

    def __init__(self) -> None:
        self._shares, self._until = np.zeros(len(AXES)), np.zeros(len(AXES))
        self._closed = False

    def press(self, text: str, now: float) -> None:
        """Takes what was typed until `now`, s."""
        for key in _ONE_KEY.findall(text):
            low = key.lower() if len(key) == 1 else key
            if low in _KEYS:
                axis, share = _KEYS[low]
                self._shares[axis] = share * (FINE if key != low else 1.0)
                self._until[axis] = now + MOMENT
            elif low == _STOP:
                self._until[:] = 0.0
            elif low == _HAND:
                self._closed = not self._closed

    def wish(self, now: float) -> Wish:
        """What is asked for at `now`, s."""
        return Wish(tuple(np.where(now < self._until, self._shares, 0.0).tolist()), self._closed)


class DrivenHand:
    """The leader in the hand of whoever has a wish: tool position, yaw and opening, by inverse kinematics.

    Speed and acceleration are bounded, and so is the place: the cell's workspace, a finger's breadth above the table.
    now: s. q [7]: the leader's joint angles, rad. width: its opening, m.
    """

    def __init__(self, cell: Cell, now: float, q: Array, width: float) -> None:
        self._inverse = InverseKinematics(cell.arm, np.array(READY))
        self._low, self._high = np.array(cell.workspace.min), np.array(cell.workspace.max)
        self._low[2] = max(self._low[2], LOWEST)
        self._open = cell.gripper.max_width
        self._now, self._q, self._width = now, np.array(q, dtype=float), width
        self._pose = self._inverse.pose(self._q)
        self._velocity = np.zeros(len(AXES))

    def move(self, now: float, wish: Wish) -> Leader:
        """Where the leader is held at `now`, if this is asked for since the last call."""
        h = min(max(now - self._now, 0.0), LONGEST_STEP)
        self._now = now
        fastest = np.array((SPEED, SPEED, SPEED, TURN_SPEED))
        change = h * np.array((ACCELERATION, ACCELERATION, ACCELERATION, TURN_ACCELERATION))
        wanted = fastest * np.clip(_of_axes(wish.axes), -1.0, 1.0)
        self._velocity += np.clip(wanted - self._velocity, -change, change)
        x, y, z = np.clip(self._pose.position + h * self._velocity[:3], self._low, self._high)
        goal = Pose(rotation(yaw=h * self._velocity[3]) @ self._pose.rotation, np.array((x, y, z)))
        self._q = self._inverse.solve(self._q, goal)
        reached = self._inverse.pose(self._q)
        lost = float(np.linalg.norm(reached.position - goal.position)) > LOST
        self._pose = reached if lost else goal
        width = 0.0 if wish.closed else self._open
        self._width += float(np.clip(width - self._width, -h * HAND_SPEED, h * HAND_SPEED))
        return Leader(self._q.copy(), self._width)


def _of_axes(values: Sequence[float]) -> Array:
    """As many numbers as there are axes, each finite."""
    shares = np.zeros(len(AXES))
    shares[: len(values)] = np.nan_to_num(np.array(values, dtype=float)[: len(AXES)], posinf=0.0, neginf=0.0)
    return shares
