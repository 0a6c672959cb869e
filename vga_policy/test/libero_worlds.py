"""Worlds and processes that several tests of LIBERO share: making one takes seconds."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import Any

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


class Here:
    """In place of `worker_pool`: does at once, in this process and with what a test has put in place, what another
    would be given."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        work, arguments = pickle.loads(pickle.dumps((work, arguments)))
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done
