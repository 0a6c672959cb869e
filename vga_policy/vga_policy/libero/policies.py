"""Trained policies in the benchmark's trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vga_policy.checkpoints.checkpoint import CheckpointError
from vga_policy.inference.policy import Policy, PolicyError
from vga_policy.libero.embodiment import LIBERO
from vga_policy.libero.errors import LiberoError
from vga_policy.observation.observation import Observation
from vga_policy.text.pretrained import EncoderError

if TYPE_CHECKING:  # a policy needs nothing of the simulator
    from vga_policy.libero import trials
    from vga_policy.libero.world import Vector, World


class Trained:
    """A policy of LIBERO's embodiment as trials see it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def act(self, observation: trials.WorldObservation, instruction: str) -> Vector:
        """The chunk [8, 7]."""
        images = tuple(np.ascontiguousarray(image) for image in observation.views.images)
        seen = Observation(0, images, (0,) * len(images), observation.proprioception, instruction)
        return self._policy.act(seen).values


def trained(checkpoint: str | Path, *, device: str = "cpu", threads: int = 1) -> trials.Actors:
    """What makes the actor of each trial: always the same policy. Raises LiberoError when it cannot be used."""
    try:
        actor = Trained(Policy.from_pretrained(checkpoint, LIBERO, device=device, threads=threads))
    except (CheckpointError, EncoderError, PolicyError) as error:
        raise LiberoError(str(error)) from None

    def make(world: World) -> trials.LiberoActor:  # noqa: ARG001
        return actor

    return make
