"""Trained policies in the benchmark's trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vga_policy.checkpoints import locate
from vga_policy.checkpoints.checkpoint import CheckpointError, load_contract, require_files
from vga_policy.embodiment.embodiment import Embodiment, EmbodimentError
from vga_policy.inference.policy import Policy, PolicyError
from vga_policy.libero.embodiment import LIBERO
from vga_policy.libero.errors import LiberoError
from vga_policy.observation.observation import Observation
from vga_policy.text.pretrained import EncoderError

if TYPE_CHECKING:  # a policy needs nothing of the simulator
    from vga_policy.libero import trials
    from vga_policy.libero.world import Vector, World

NO_INSTRUCTION, NO_WRIST = "no-instruction", "no-wrist"


class Trained:
    """A policy of LIBERO's embodiment as trials see it. control: what is kept from it."""

    def __init__(self, policy: Policy, control: str = "") -> None:
        self._policy, self._control = policy, control
        self._slots = [LIBERO.views.index(view) for view in policy.embodiment.views]

    def act(self, observation: trials.WorldObservation, instruction: str) -> Vector:
        """The chunk [8, 7]."""
        seen = [np.ascontiguousarray(observation.views.images[slot]) for slot in self._slots]
        if self._control == NO_WRIST:
            roles = [view.role for view in self._policy.embodiment.views]
            seen = [np.zeros_like(image) if role == "wrist" else image for image, role in zip(seen, roles, strict=True)]
        told = "" if self._control == NO_INSTRUCTION else instruction
        known = Observation(0, tuple(seen), (0,) * len(seen), observation.proprioception, told)
        return self._policy.act(known).values


def trained(checkpoint: str | Path, *, control: str = "", device: str = "cpu", threads: int = 1) -> trials.Actors:
    """What makes the actor of each trial: always the same policy, which may do without a view.

    control: NO_INSTRUCTION tells it nothing, NO_WRIST shows it black for the wrist's picture. Raises LiberoError when
    it cannot be used.
    """
    try:
        policy = Policy.from_pretrained(checkpoint, _embodiment(checkpoint), device=device, threads=threads)
    except (CheckpointError, EmbodimentError, EncoderError, PolicyError) as error:
        raise LiberoError(str(error)) from None
    if control == NO_WRIST and all(view.role != "wrist" for view in policy.embodiment.views):
        raise LiberoError(f"{checkpoint}: has no view of the wrist: there is nothing that --control {control} can hide")
    actor = Trained(policy, control)

    def make(world: World) -> trials.LiberoActor:  # noqa: ARG001
        return actor

    return make


def _embodiment(checkpoint: str | Path) -> Embodiment:
    """LIBERO's with the views that the policy was trained with."""
    directory = locate(checkpoint)
    require_files(directory)
    theirs = load_contract(directory).embodiment
    return LIBERO.with_views([view.name for view in theirs.views]) if theirs.name == LIBERO.name else LIBERO
