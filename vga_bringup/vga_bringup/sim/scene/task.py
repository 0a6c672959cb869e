"""What a task is: what is drawn from a seed, what the policy is told, how it is done and when it is.

Object position, object rotation and the arm's initial pose vary (paper, appendix F.2, figure 10); the objects a task
does not draw stay where they are by default. Success is judged by the physical state alone.
"""

from __future__ import annotations

import itertools
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from vga_policy.evaluate.environment import Judgement

from vga_bringup.sim.scene.objects import TABLE, Objects, Placement, button_latched, placements_of

# Above the middle of the table and pointing down, so that the wrist camera sees most of it; and how far from there a
# trial may start, rad.
READY = (0.0, -0.4350, 0.0, -2.3294, 0.0, 1.8944, 0.7854)
START_RANGE = (0.15, 0.08, 0.10, 0.10, 0.10, 0.10, 0.15)

PICKED_UP = 0.05  # m above the table at which a wrong object counts as chosen
FALLEN = -0.05  # m; an object below this has left the table
HELD_FOR = 0.5  # s a success must last
CHOSEN_FOR = 0.3  # s a wrong object must be held to fail
FINGER_ROOM = 0.035  # m that open fingers need beside an object

_HOUSE = Path(__file__).parents[2]  # whose code is blamed for no task of others

FINGERS = ("robot0_left_finger", "robot0_right_finger")


class TaskError(ValueError):
    """There is no such task, or it cannot be used. The message says which, whose it is and what is wrong."""


Drawn = tuple[str, Mapping[str, Placement]]


@dataclass(frozen=True)
class Task:
    """A task in the simulated cell.

    instruction: what the policy is told; {target} stands for the target's name.
    draw: from random numbers, the target's name and the placements of the objects that vary.
    judge: how the trial stands at this instant. A success counts once it has lasted HELD_FOR; a failure is final.
    demonstrate: the scripted operator's way of doing it, a generator: see `expert.scripted_expert`.
    objects: all that is on the table.
    support: the object that the target is put on, if any. Should it or the target fall off the table, the trial fails.
    decoys: objects of which none but the target may be picked up.
    """

    instruction: str
    draw: Callable[[Generator], Drawn]
    judge: Callable[[Scene, Arrangement], Judgement]
    demonstrate: Callable[[Any, Arrangement], Iterator[None]]
    objects: Objects = field(default_factory=lambda: TABLE)
    support: str = ""
    decoys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrangement:
    """One trial's scene. target: the object to act on; support: what it is to be put on, or empty.

    task: its name. placements: of every object. arm_start: joint angles the trial starts at, rad.
    """

    task: str
    definition: Task
    seed: int
    instruction: str
    target: str
    placements: Mapping[str, Placement]
    arm_start: tuple[float, ...]

    @property
    def support(self) -> str:
        """What the target is to be put on, or empty."""
        return self.definition.support


class Range(NamedTuple):
    """Where an object may lie: intervals of x and y (m, arm's base frame) and yaw (rad)."""

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: tuple[float, float]

    def draw(self, random: Generator) -> Placement:
        """A placement, uniform over the range."""
        return Placement(random.uniform(*self.x), random.uniform(*self.y), random.uniform(*self.yaw))


def draw_apart(
    random: Generator, ranges: Mapping[str, Range], objects: Objects = TABLE, room: float = FINGER_ROOM
) -> Mapping[str, Placement]:
    """A placement from each range, so that these objects keep clear of each other and of the rest by `room` (m)."""
    while True:
        placements = {name: range_.draw(random) for name, range_ in ranges.items()}
        if _clear(placements, objects, room):
            return placements


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

    def position(self, name: str) -> NDArray[np.float64]:
        """Position [3] of an object's origin in the arm's base frame, m."""
        return self.data.body(name).xpos.copy()

    def offset(self, name: str, other: str) -> NDArray[np.float64]:
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
        self._scene = Scene(model)
        self._done_since: float | None = None
        self._wrong_since: float | None = None
        self._failure: Judgement | None = None

    def judge(self, now: float, data: mujoco.MjData) -> Judgement:
        """Judges the state at `now` (s, never decreasing). `data`: see `Scene`. Call it ten times a second or more.

        Raises TaskError.
        """
        self._scene.data = data
        arrangement = self._arrangement
        with blaming(arrangement.task, "judge"):
            state = arrangement.definition.judge(self._scene, arrangement)
            self._done_since = (self._done_since if self._done_since is not None else now) if state.success else None
        self._failure = self._failure or self._failed(now) or (state if state.failed else None)
        if self._failure is not None:
            return self._failure
        return replace(state, success=self._done_since is not None and now - self._done_since >= HELD_FOR)

    def _failed(self, now: float) -> Judgement | None:
        """Why the task cannot be done any more; None while it can."""
        scene, arrangement = self._scene, self._arrangement
        for name in filter(None, (arrangement.target, arrangement.support)):
            if scene.height(name) < FALLEN:
                return Judgement(False, True, f"the {in_words(name)} fell off the table")
        others = (name for name in arrangement.definition.decoys if name != arrangement.target)
        wrong = next((name for name in others if scene.height(name) > PICKED_UP and scene.held(name)), "")
        self._wrong_since = (self._wrong_since if self._wrong_since is not None else now) if wrong else None
        if self._wrong_since is not None and now - self._wrong_since >= CHOSEN_FOR:
            reason = f"the {in_words(wrong)} was picked up instead of the {in_words(arrangement.target)}"
            return Judgement(False, True, reason, in_words(wrong))
        return None


def arrange(name: str, task: Task, seed: int) -> Arrangement:
    """The scene of one trial of the task of this name; the same seed gives the same scene. Raises TaskError."""
    random = np.random.default_rng((zlib.crc32(name.encode()), seed))
    with blaming(name, "draw"):
        target, placements = task.draw(random)
        if strange := sorted({target, *filter(None, [task.support]), *placements} - {*task.objects}):
            raise TaskError(f"task '{name}': draw: no object {strange[0]!r}; there are {', '.join(task.objects)}")
        placements = {key: Placement(*map(float, place)) for key, place in placements.items()}
    reach = np.array(START_RANGE)
    return Arrangement(
        task=name,
        definition=task,
        seed=seed,
        instruction=task.instruction.format(target=in_words(target)),
        target=target,
        placements={**placements_of(task.objects), **placements},
        arm_start=tuple((np.array(READY) + random.uniform(-reach, reach)).tolist()),
    )


@contextmanager
def blaming(task: str, part: str) -> Iterator[None]:
    """Raises TaskError for whatever a part of a task raises: with the place, in a line."""
    try:
        yield
    except TaskError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if not Path(frame.filename).is_relative_to(_HOUSE)]
        last = next((frame for frame in reversed(theirs) if "site-packages" not in frame.filename), frames[-1])
        where = f"{Path(last.filename).name}, line {last.lineno}"
        raise TaskError(f"task '{task}': {part}: {type(error).__name__}: {error} ({where})") from error


def in_words(name: str) -> str:
    """An object's name as judgements and instructions have it."""
    return name.replace("_", " ")


def _clear(placements: Mapping[str, Placement], objects: Objects, room: float) -> bool:
    """Whether the placed objects keep their distance from all that have a radius, and `room` more."""
    everything = {**placements_of(objects), **placements}
    others = [name for name, thing in objects.items() if thing.radius]
    for name, other in itertools.product(placements, others):
        a, b = everything[name], everything[other]
        if name != other and np.hypot(a.x - b.x, a.y - b.y) < objects[name].radius + objects[other].radius + room:
            return False
    return True
