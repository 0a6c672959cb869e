"""The policies that need no checkpoint, by name."""

from __future__ import annotations

from vga_policy.libero.expert.expert import demonstrate
from vga_policy.libero.trials import Actors, LiberoActor, Scripted, Still
from vga_policy.libero.world import World


def actors(policy: str) -> Actors:
    """What makes the actor of each trial: of the scripted expert (`oracle`), or of nothing (`zero`)."""
    return {"oracle": _oracle, "zero": _still}[policy]


def _oracle(world: World) -> LiberoActor:
    return Scripted(demonstrate(world))


def _still(world: World) -> LiberoActor:  # noqa: ARG001
    return Still()
