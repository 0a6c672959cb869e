"""What acts in the trials, by their conditions."""

from __future__ import annotations

from vga_policy.libero.evaluation import LiberoConditions
from vga_policy.libero.expert.expert import demonstrate
from vga_policy.libero.trials import Actors, LiberoActor, Scripted, Still
from vga_policy.libero.world import World


def actors(conditions: LiberoConditions, device: str = "cpu", threads: int = 1) -> Actors:
    """What makes the actor of each trial: of a checkpoint, of the scripted expert (`oracle`), or of nothing (`zero`).

    Raises LiberoError when the checkpoint cannot be used.
    """
    if conditions.checkpoint:
        from vga_policy.libero.policies import trained  # needs torch, which the others do without

        return trained(conditions.checkpoint, control=conditions.control, device=device, threads=threads)
    return {"oracle": _oracle, "zero": _still}[conditions.policy]


def _oracle(world: World) -> LiberoActor:
    return Scripted(demonstrate(world))


def _still(world: World) -> LiberoActor:  # noqa: ARG001
    return Still()
