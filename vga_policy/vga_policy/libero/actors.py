"""What acts in the trials, by their conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from vga_policy.libero.cameras import Views
from vga_policy.libero.evaluation import ADDED, LiberoConditions
from vga_policy.libero.expert.expert import demonstrate
from vga_policy.libero.trials import Actors, LiberoActor, Scripted, Still, WorldObservation, run_trial
from vga_policy.libero.world import Vector, World

SHUFFLED = "shuffled"


@lru_cache(maxsize=1)  # a process has one policy in its memory, and keeps it from one task to the next
def actors(conditions: LiberoConditions, device: str = "cpu", threads: int = 1) -> Actors:
    """What makes the actor of each trial: of a checkpoint (`trained`), of somebody else's policy (`added`), of the
    scripted expert (`oracle`), or of nothing (`zero`).

    Raises LiberoError when the policy cannot be used.
    """
    if not conditions.checkpoint:
        return {"oracle": _oracle, "zero": _still}[conditions.policy]
    from vga_policy.libero.policies import added, trained  # needs torch, which the others do without

    if conditions.policy == ADDED:
        make = added(conditions.checkpoint, conditions.control)
    else:
        make = trained(conditions.checkpoint, control=conditions.control, device=device, threads=threads)
    return shuffled(make, conditions.execute) if conditions.control == SHUFFLED else make


def shuffled(make: Actors, execute: int) -> Actors:
    """Actors that are shown what they saw in another trial of the task: nothing there tells of this scene.

    That other trial, from the initial state that differs most, is run first; the scene is then as it was.
    """

    def make_shuffled(world: World) -> LiberoActor:
        begun, states = world.state(), world.task.initial_states()
        other = states[np.abs(states - begun)[:, 1 : 1 + world.model.nq].max(axis=1).argmax()]
        watched = _Watched(make(world))
        run_trial(world, lambda _: watched, other, execute)
        world.start(begun)
        return _ShownOthers(make(world), watched.seen)

    return make_shuffled


@dataclass
class _Watched:
    """An actor, and what it has seen."""

    actor: LiberoActor
    seen: list[Views] = field(default_factory=list)

    def act(self, observation: WorldObservation, instruction: str) -> Vector:
        self.seen.append(observation.views)
        return self.actor.act(observation, instruction)


@dataclass
class _ShownOthers:
    """An actor that is shown other views, one after another, which begin again at their end."""

    actor: LiberoActor
    views: list[Views]
    asked: int = 0

    def act(self, observation: WorldObservation, instruction: str) -> Vector:
        observation.views = self.views[self.asked % len(self.views)]
        self.asked += 1
        return self.actor.act(observation, instruction)


def _oracle(world: World) -> LiberoActor:
    return Scripted(demonstrate(world))


def _still(world: World) -> LiberoActor:  # noqa: ARG001
    return Still()
