"""The expert's hand: how it gets from pose to pose with the benchmark's own actions.

A movement is a generator of actions; whoever runs it takes one control step between an action and the next. The
expert therefore runs in a rollout, in the recording of a demonstration and as a policy under evaluation alike.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vga_policy.libero.expert.shapes import touching
from vga_policy.libero.world import SITE, Vector, World

T = TypeVar("T")
Movement = Generator[Vector, None, T]
Rotation = NDArray[np.float64]  # [3, 3]; the grip's axis x runs from finger to finger, z out of the hand

OPEN, CLOSE = -1.0, 1.0
LEFT = {"gripper0_leftfinger", "gripper0_finger_joint1_tip"}  # bodies of a finger
RIGHT = {"gripper0_rightfinger", "gripper0_finger_joint2_tip"}
GAIN = 2.0  # of the way that is left, in a step
DOWN = np.array([0.0, 0.0, -1.0])
PROGRESS, PATIENCE = 0.001, 10  # m by which a movement is to come nearer within so many steps, else it is stuck
LEVER = 0.1  # m; turning by 1 rad counts as much
# What the people who recorded LIBERO's demonstrations never went beyond: the largest actions in the statistics of the
# sets that OpenVLA published, where the mouse's full deflection is 0.9375.
FASTEST, FASTEST_TURN = 0.9375, 0.375


@dataclass(frozen=True)
class Style:
    """How one demonstration is given. fast: largest translation an axis; turn: largest turn; growth: by how much an
    action may be larger than the one before; height: m above an object from which it is approached; stray: standard
    deviation of way-points where there is room, m; first: m from the start, at which the movement begins."""

    fast: float = FASTEST
    turn: float = 0.35
    growth: float = 0.4
    height: float = 0.07
    stray: float = 0.0
    first: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def drawn(cls, random: np.random.Generator) -> Style:
        """Another person's, or the same one's another time."""
        first = random.uniform([-0.05, -0.07, -0.05], [0.05, 0.07, 0.03])
        return cls(
            fast=float(random.uniform(0.7, FASTEST)),
            turn=float(random.uniform(0.25, FASTEST_TURN)),
            growth=float(random.uniform(0.2, 0.4)),
            height=float(random.uniform(0.05, 0.10)),
            stray=float(random.uniform(0.0, 0.012)),
            first=(float(first[0]), float(first[1]), float(first[2])),
        )


def aim(across: ArrayLike, out: ArrayLike = DOWN) -> Rotation:
    """A hand that points along `out`, its fingers closing along `across` as far as that is possible."""
    z = np.asarray(out, dtype=np.float64) / np.linalg.norm(out)
    x = np.asarray(across, dtype=np.float64)
    x = x - (x @ z) * z
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


class Hand:
    """The hand of a world, moved in one style."""

    def __init__(self, world: World, style: Style | None = None, random: np.random.Generator | None = None) -> None:
        self.world, self.style = world, style or Style()
        self._random = random or np.random.default_rng(0)
        self._size = 0.0

    @property
    def position(self) -> Vector:
        """Of the grip [3], m."""
        return self.world.hand()

    @property
    def rotation(self) -> Rotation:
        """Of the grip."""
        return np.array(self.world.data.site(SITE).xmat).reshape(3, 3)

    def holds(self, name: str) -> bool:
        """Whether a thing is between the fingers, and both touch it."""
        touched = touching(self.world, name)
        return bool(touched & LEFT and touched & RIGHT)

    def stray(self, position: ArrayLike) -> Vector:
        """A way-point, where it need not be exact; never lower, where things might be in the way."""
        x, y, z = self._random.normal(0.0, self.style.stray, 3)
        return np.asarray(position, dtype=np.float64) + np.array([x, y, abs(z)])

    def go(
        self,
        position: ArrayLike,
        rotation: Rotation,
        fingers: float,
        near: float = 0.01,
        aligned: float = 0.1,
        limit: int = 90,
        fast: float = FASTEST,
        vain: Callable[[], bool] | None = None,
    ) -> Movement[bool]:
        """Moves until it is as near (m) and aligned (rad), or stuck, or `limit` steps have passed; whether it is.

        vain: says when going on is of no use.
        """
        target = np.asarray(position, dtype=np.float64)
        least, since = np.inf, 0
        for _ in range(limit):
            way, turn = target - self.position, self.turn_left(rotation)
            if np.linalg.norm(way) < near and np.linalg.norm(turn) < aligned:
                return True
            left = _length(way) + LEVER * _length(turn)
            least, since = (left, 0) if left < least - PROGRESS else (least, since + 1)
            if since == PATIENCE or (vain is not None and vain()):
                break
            yield self._action(way, turn, fingers, fast)
        return False

    def grip(self, fingers: float, rotation: Rotation, at: ArrayLike | None = None, limit: int = 20) -> Movement[None]:
        """Opens or closes until the fingers rest; they need about 12 steps for the whole way. at: where; None: here."""
        at, before = self.position if at is None else np.asarray(at, dtype=np.float64), self.world.fingers()[0]
        for step in range(limit):
            yield self._action(at - self.position, self.turn_left(rotation), fingers, FASTEST)
            now = self.world.fingers()[0]
            if step > 7 and abs(now - before) < 5e-4:
                return
            before = now

    def turn_left(self, rotation: Rotation) -> Vector:
        """Axis times angle to a rotation, or to that of the same hand with its fingers exchanged, if that is nearer."""
        now = self.rotation.T
        return min((_vector(other @ now) for other in (rotation, rotation * [-1, -1, 1])), key=_length)

    def _action(self, way: Vector, turn: Vector, fingers: float, fast: float) -> Vector:
        move = GAIN * way / 0.05
        size = float(np.abs(move).max())
        allowed = min(size, self.style.fast, fast, self._size + self.style.growth)
        self._size = allowed
        turning = GAIN * turn / 0.5
        turning *= min(1.0, self.style.turn / max(1e-9, float(np.abs(turning).max())))
        return np.concatenate([move * (allowed / max(size, 1e-9)), turning, [fingers]])


def _length(vector: Vector) -> float:
    return float(np.linalg.norm(vector))


def _vector(rotation: Rotation) -> Vector:
    """Axis times angle of a rotation matrix; angle 0 … π."""
    skew = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    sine, cosine = np.linalg.norm(skew) / 2, (np.trace(rotation) - 1) / 2
    angle = np.arctan2(sine, cosine)
    if sine > 1e-6:
        return np.asarray(skew / (2 * sine) * angle)
    if cosine > 0:
        return np.zeros(3)
    column = rotation + np.eye(3)  # half a turn: any column that is not 0 is along the axis
    axis = column[:, int(np.argmax(np.linalg.norm(column, axis=0)))]
    return np.asarray(axis / np.linalg.norm(axis) * np.pi)
