"""The tasks: what is drawn from a seed, what the policy is told, and when it is done.

Object position, object rotation and the arm's initial pose vary (paper, appendix F.2, figure 10); the objects a task
does not use stay where `objects.DEFAULT_PLACEMENTS` has them. Success is judged by the physical state alone.

A new task is an entry of TASKS and its name in `vga_policy.names`; one that asks for a new skill has a script in
`sim.expert` besides.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.random import Generator
from vga_policy.evaluate.environment import Judgement

from vga_bringup.sim.scene.objects import CUBE, DEFAULT_PLACEMENTS, Placement, button_latched

VEGETABLES = ("cucumber", "carrot", "eggplant")

# Above the middle of the table and pointing down, so that the wrist camera sees most of it; and how far from there a
# trial may start, rad.
READY = (0.0, -0.4350, 0.0, -2.3294, 0.0, 1.8944, 0.7854)
START_RANGE = (0.15, 0.08, 0.10, 0.10, 0.10, 0.10, 0.15)

LIFTED = 0.10  # m above the table: "raised above a vertical threshold"
PICKED_UP = 0.05  # m above the table at which a wrong object counts as chosen
STACKED_WITHIN = 0.022  # m between the axes of two stacked cubes: half an edge
RESTING_WITHIN = 0.006  # m of the height at which the upper cube lies on the lower one
FALLEN = -0.05  # m; an object below this has left the table
HELD_FOR = 0.5  # s a success must last
CHOSEN_FOR = 0.3  # s a wrong object must be held to fail

FINGERS = ("robot0_left_finger", "robot0_right_finger")

# Half the size of what an object covers of the table, m, and the room that open fingers need beside it.
_RADIUS = {"red_cube": 0.034, "green_cube": 0.034, "blue_cube": 0.034, "button": 0.080}
_FINGER_ROOM = 0.035


class UnknownTaskError(ValueError):
    """There is no task of this name. The message lists those there are."""


@dataclass(frozen=True)
class Arrangement:
    """One trial's scene. target: the object to act on; support: what it is to be put on, or empty.

    placements: of every object. arm_start: joint angles the trial starts at, rad.
    """

    task: str
    seed: int
    instruction: str
    target: str
    support: str
    placements: Mapping[str, Placement]
    arm_start: tuple[float, ...]


class Range(NamedTuple):
    """Where an object may lie: intervals of x and y (m, arm's base frame) and yaw (rad)."""

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: tuple[float, float]

    def draw(self, random: Generator) -> Placement:
        """A placement, uniform over the range."""
        return Placement(random.uniform(*self.x), random.uniform(*self.y), random.uniform(*self.yaw))


class Skill(Enum):
    """What a task asks for. It decides how the task is judged, and how the scripted operator does it."""

    PICK = auto()
    PRESS = auto()
    STACK = auto()


@dataclass(frozen=True)
class Task:
    """A task. `draw` gives the target and the placements of the objects that vary."""

    instruction: str
    skill: Skill
    draw: Callable[[Generator], tuple[str, Mapping[str, Placement]]]
    support: str = ""


class Scene:
    """What is physically the case. `data` must be up to date to its contacts (`mj_step`, or `mj_fwdPosition`)."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._body_of_geom = model.geom_bodyid
        self._fingers = [model.body(name).id for name in FINGERS]
        self.data: mujoco.MjData

    def height(self, name: str) -> float:
        """Height of an object's origin above the table, m."""
        return float(self.data.body(name).xpos[2])

    def offset(self, name: str, other: str) -> np.ndarray:
        """Vector [3] from object `other` to object `name`, m."""
        return self.data.body(name).xpos - self.data.body(other).xpos

    def held(self, name: str) -> bool:
        """Whether both fingers touch the object."""
        return all(self._touching(self._model.body(name).id, finger) for finger in self._fingers)

    def touched(self, name: str) -> bool:
        """Whether a finger touches the object."""
        return any(self._touching(self._model.body(name).id, finger) for finger in self._fingers)

    @property
    def pressed(self) -> bool:
        """Whether the button was pressed since the objects were placed."""
        return button_latched(self.data)

    def _touching(self, body: int, other: int) -> bool:
        pairs = self._body_of_geom[self.data.contact.geom]
        return bool(((pairs == (body, other)) | (pairs == (other, body))).all(axis=1).any())


class Judge:
    """Follows one trial. A failure is final; success is what is the case now, and has been for HELD_FOR."""

    def __init__(self, model: mujoco.MjModel, arrangement: Arrangement) -> None:
        self._arrangement = arrangement
        self._state = _STATES[TASKS[arrangement.task].skill]
        self._scene = Scene(model)
        self._done_since: float | None = None
        self._wrong_since: float | None = None
        self._failure: Judgement | None = None

    def judge(self, now: float, data: mujoco.MjData) -> Judgement:
        """Judges the state at `now` (s, never decreasing). `data`: see `Scene`. Call it ten times a second or more."""
        self._scene.data = data
        state = self._state(self._scene, self._arrangement)
        self._done_since = (self._done_since if self._done_since is not None else now) if state.success else None
        self._failure = self._failure or self._failed(now)
        if self._failure is not None:
            return self._failure
        return replace(state, success=self._done_since is not None and now - self._done_since >= HELD_FOR)

    def _failed(self, now: float) -> Judgement | None:
        """Why the task cannot be done any more; None while it can."""
        scene, arrangement = self._scene, self._arrangement
        for name in filter(None, (arrangement.target, arrangement.support)):
            if scene.height(name) < FALLEN:
                return Judgement(False, True, f"the {_words(name)} fell off the table")
        wrong = ""
        if arrangement.target in VEGETABLES:
            others = (name for name in VEGETABLES if name != arrangement.target)
            wrong = next((name for name in others if scene.height(name) > PICKED_UP and scene.held(name)), "")
        self._wrong_since = (self._wrong_since if self._wrong_since is not None else now) if wrong else None
        if self._wrong_since is not None and now - self._wrong_since >= CHOSEN_FOR:
            reason = f"the {_words(wrong)} was picked up instead of the {_words(arrangement.target)}"
            return Judgement(False, True, reason, _words(wrong))
        return None


def arrange(task: str, seed: int) -> Arrangement:
    """The scene of one trial; the same seed gives the same scene. Raises UnknownTaskError."""
    if task not in TASKS:
        raise UnknownTaskError(f"no task '{task}'; there are {', '.join(TASKS)}")
    definition = TASKS[task]
    random = np.random.default_rng((zlib.crc32(task.encode()), seed))
    target, placements = definition.draw(random)
    reach = np.array(START_RANGE)
    return Arrangement(
        task=task,
        seed=seed,
        instruction=definition.instruction.format(target=_words(target)),
        target=target,
        support=definition.support,
        placements={**DEFAULT_PLACEMENTS, **placements},
        arm_start=tuple((np.array(READY) + random.uniform(-reach, reach)).tolist()),
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


# What varies.

_TILT = np.radians(30)  # less than the 45 degrees at which a cube's grasps are equally far
_NEAR_Y = np.pi / 2


def _clear(placements: Mapping[str, Placement], names: Collection[str], room: float) -> bool:
    """Whether the named objects keep their distance from all cubes and the button, and from each other `room` more."""
    everything = {**DEFAULT_PLACEMENTS, **placements}
    for name, other in itertools.product(names, _RADIUS):
        a, b = everything[name], everything[other]
        if name != other and np.hypot(a.x - b.x, a.y - b.y) < _RADIUS[name] + _RADIUS[other] + room:
            return False
    return True


def _draw_clear(random: Generator, ranges: Mapping[str, Range], room: float) -> Mapping[str, Placement]:
    while True:
        placements = {name: range_.draw(random) for name, range_ in ranges.items()}
        if _clear(placements, placements, room):
            return placements


_CUBE_TO_PICK = Range(x=(0.40, 0.60), y=(-0.03, 0.11), yaw=(-_TILT, _TILT))
_CUBE_BELOW = Range(x=(0.48, 0.62), y=(-0.13, -0.03), yaw=(-_TILT, _TILT))
_BUTTON = Range(x=(0.42, 0.58), y=(0.17, 0.29), yaw=(-_TILT, _TILT))


def _draw_pick_cube(random: Generator) -> tuple[str, Mapping[str, Placement]]:
    return "red_cube", _draw_clear(random, {"red_cube": _CUBE_TO_PICK}, _FINGER_ROOM)


def _draw_stack_cube(random: Generator) -> tuple[str, Mapping[str, Placement]]:
    return "red_cube", _draw_clear(random, {"red_cube": _CUBE_TO_PICK, "green_cube": _CUBE_BELOW}, _FINGER_ROOM)


def _draw_press_button(random: Generator) -> tuple[str, Mapping[str, Placement]]:
    return "button", _draw_clear(random, {"button": _BUTTON}, 0.0)


_ROW = (0.36, 0.48, 0.60)  # m, x of the three places for a vegetable


def _draw_grasp_vegetable(random: Generator) -> tuple[str, Mapping[str, Placement]]:
    placements = {}
    for name, x in zip(random.permutation(VEGETABLES).tolist(), _ROW, strict=True):
        around = Range(x=(x - 0.01, x + 0.01), y=(-0.275, -0.235), yaw=(_NEAR_Y - 0.25, _NEAR_Y + 0.25))
        placements[name] = around.draw(random)
    return str(random.choice(VEGETABLES)), placements


# What is the case, by skill; `success` is at this very instant.


def _picked(scene: Scene, arrangement: Arrangement) -> Judgement:
    target = arrangement.target
    if not scene.held(target):
        return Judgement(False, False, "nothing held", "")
    height, name = scene.height(target), _words(target)
    return Judgement(height >= LIFTED, False, f"{name} held {height:.2f} m above the table", name)


def _pressed(scene: Scene, _: Arrangement) -> Judgement:
    return Judgement(scene.pressed, False, "button pressed" if scene.pressed else "button not pressed")


def _stacked(scene: Scene, arrangement: Arrangement) -> Judgement:
    upper, lower = arrangement.target, arrangement.support
    x, y, z = scene.offset(upper, lower)
    on_top = np.hypot(x, y) <= STACKED_WITHIN and abs(z - CUBE) <= RESTING_WITHIN
    if on_top and not scene.touched(upper):
        return Judgement(True, False, f"{_words(upper)} rests on the {_words(lower)}")
    return Judgement(False, False, f"{_words(upper)} {'held' if scene.held(upper) else 'not stacked'}")


_STATES: Mapping[Skill, Callable[[Scene, Arrangement], Judgement]] = {
    Skill.PICK: _picked,
    Skill.PRESS: _pressed,
    Skill.STACK: _stacked,
}

TASKS: Mapping[str, Task] = {
    "pick_cube": Task("pick up the red cube", Skill.PICK, _draw_pick_cube),
    "press_button": Task("press the button", Skill.PRESS, _draw_press_button),
    "stack_cube": Task("stack the red cube on the green cube", Skill.STACK, _draw_stack_cube, support="green_cube"),
    "grasp_vegetable": Task("pick up the {target}", Skill.PICK, _draw_grasp_vegetable),
}
