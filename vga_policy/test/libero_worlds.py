"""Worlds that several tests of LIBERO share: making one takes seconds."""

from __future__ import annotations

from functools import cache

from vga_policy.libero.tasks import tasks
from vga_policy.libero.world import World

SIZE = 112


@cache
def world_of(suite: str, index: int) -> World:
    """One world a task and process; whoever uses it resets it."""
    return World(tasks(suite)[index], size=SIZE)


def settled(suite: str, index: int, state: int = 0) -> World:
    """The same as at the beginning of a trial."""
    world = world_of(suite, index)
    world.seed(0)
    world.reset()
    world.start(world.task.initial_states()[state])
    world.settle()
    return world
