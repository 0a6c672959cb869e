"""One trial of the benchmark, as published evaluations run it, and what takes part in it."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from vga_policy.libero.cameras import Views
from vga_policy.libero.errors import LiberoError, told
from vga_policy.libero.world import ACTION, STILL, Vector, World

STANDS = 0.01  # m that a hand which stands still may move
EXECUTE = 8  # actions of a chunk that are executed before the next is asked for: OpenVLA-OFT's and the paper's


class WorldObservation:
    """What a policy can be shown of a world that stands still; pictures are drawn when they are asked for."""

    def __init__(self, world: World) -> None:
        self._world = world

    @cached_property
    def views(self) -> Views:
        """Of vga_policy.libero.cameras.CAMERAS, the right way up and not mirrored."""
        return self._world.views()

    @cached_property
    def proprioception(self) -> Vector:
        """float64 [8], as `World.proprioception`."""
        return self._world.proprioception()


class LiberoActor(Protocol):
    """A policy, in one trial."""

    def act(self, observation: WorldObservation, instruction: str) -> Vector:
        """The next actions [N, 7] in the benchmark's own units; of the last number, only the sign counts."""


Actors = Callable[[World], LiberoActor]  # makes the actor of a trial that is about to begin in this world


class Still:
    """Does nothing: what succeeds then was no task."""

    def act(self, observation: WorldObservation, instruction: str) -> Vector:  # noqa: ARG002
        """One action."""
        return STILL[None]


class Scripted:
    """Lets a movement act, one action at a time; does nothing when it is over."""

    def __init__(self, movement: Iterator[Vector]) -> None:
        self._movement = movement

    def act(self, observation: WorldObservation, instruction: str) -> Vector:  # noqa: ARG002
        """One action."""
        return next(self._movement, STILL)[None]


@dataclass(frozen=True)
class TrialCase:
    """What a trial begins with. state: number of the initial state.

    seed: that the environment is given before its reset; None: it goes on from the trial before. camera: pose of a
    perturbed camera as LIBERO-Plus writes it, H_V_S_R_E; empty: the benchmark's own.
    """

    state: int
    seed: int | None = None
    camera: str = ""


@dataclass(frozen=True)
class LiberoTrial:
    """How a trial ended. task: its label; steps: without those of settling; seconds: that it took.

    still: the last steps of it in which the hand stood still; None where an older run did not count them.
    """

    task: str
    case: TrialCase
    success: bool
    steps: int
    seconds: float = 0.0
    still: int | None = None

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> LiberoTrial:
        """The inverse of dataclasses.asdict."""
        return cls(**{**plain, "case": TrialCase(**plain["case"])})


class Ending(NamedTuple):
    """Whether the task was done, after how many steps, and in how many of the last ones the hand stood still."""

    success: bool
    steps: int
    still: int


def run_trial(
    world: World,
    make: Actors,
    state: Vector,
    execute: int = EXECUTE,
    watch: Callable[[WorldObservation], None] | None = None,
) -> Ending:
    """From an initial state of a scene just `reset` to the end.

    watch: is shown what the actor can see, every `execute` steps where that asks for actions so often. Raises
    LiberoError when the actor returns anything else than actions.
    """
    world.start(state)
    world.settle()
    with _faults_told():
        actor = make(world)
    return drive(world, actor, world.task.step_limit, execute, watch)


def drive(
    world: World,
    actor: LiberoActor,
    limit: int,
    execute: int = EXECUTE,
    watch: Callable[[WorldObservation], None] | None = None,
) -> Ending:
    """Lets an actor act from here on, for `limit` steps at most; else as `run_trial`."""
    steps, shown, hand = 0, 0, [world.hand()]
    while steps < limit:
        observation = WorldObservation(world)
        if watch is not None and steps >= shown:
            watch(observation)
            shown += execute
        with _faults_told():
            returned = actor.act(observation, world.task.instruction)
        actions = _actions(returned)
        for action in actions[: min(execute, limit - steps)]:
            steps += 1
            done = world.step(np.append(action[:-1], 1.0 if action[-1] > 0 else -1.0))
            hand.append(world.hand())
            if done:
                return Ending(True, steps, _still(hand))
    return Ending(False, steps, _still(hand))


def _still(hand: list[Vector]) -> int:
    """The last steps in which all positions of the hand are within STANDS of where it ended."""
    away = np.flatnonzero(np.linalg.norm(np.subtract(hand, hand[-1]), axis=1) > STANDS)
    return len(hand) - 1 - (int(away[-1]) + 1 if len(away) else 0)


@contextmanager
def _faults_told() -> Iterator[None]:
    """Faults of what acts, as LiberoError, with their place in its own file."""
    try:
        yield
    except LiberoError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        installed = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
        own = [frame for frame in frames if not frame.filename.startswith(installed)] or list(frames)
        where = f"{own[-1].filename}, line {own[-1].lineno}"
        raise LiberoError(f"the policy failed at {where}: {told(error)}") from error


def _actions(returned: object) -> Vector:
    """What a policy returned, as actions [N, 7]. Raises LiberoError when it is none."""
    try:
        actions = np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(returned).__name__
        raise LiberoError(f"a policy must return actions [N, {ACTION}], not {kind} ({error})") from None
    if actions.ndim != 2 or actions.shape[1] != ACTION or not len(actions):
        raise LiberoError(f"a policy must return finite actions [N, {ACTION}], not {actions.shape}")
    if not np.isfinite(actions).all():
        step, number = np.argwhere(~np.isfinite(actions))[0]
        raise LiberoError(f"a policy must return finite actions: [{step}, {number}] is {actions[step, number]}")
    return actions
