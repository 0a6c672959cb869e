"""Policies in the benchmark's trials: trained here, or somebody else's; and what may be kept from them."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
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
from vga_policy.plugins import LIBERO_POLICIES, PluginError
from vga_policy.text.pretrained import EncoderError

if TYPE_CHECKING:  # a policy needs nothing of the simulator
    from vga_policy.libero import trials
    from vga_policy.libero.world import Vector

NO_INSTRUCTION, NO_WRIST = "no-instruction", "no-wrist"
WRIST = [view.role for view in LIBERO.views].index("wrist")


class Trained:
    """A policy of LIBERO's embodiment as trials see it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._slots = [LIBERO.views.index(view) for view in policy.embodiment.views]

    def act(self, observation: trials.WorldObservation, instruction: str) -> Vector:
        """The chunk [8, 7]."""
        views = observation.views.mirrored() if self._policy.embodiment.mirrored else observation.views
        seen = [np.ascontiguousarray(views.images[slot]) for slot in self._slots]
        known = Observation(0, tuple(seen), (0,) * len(seen), observation.proprioception, instruction)
        return self._policy.act(known).values


@dataclass(frozen=True)
class Kept:
    """An actor from which something is kept.

    control: NO_INSTRUCTION tells it nothing, NO_WRIST shows it black for the wrist's picture.
    """

    actor: trials.LiberoActor
    control: str

    def act(self, observation: trials.WorldObservation, instruction: str) -> Vector:
        """As the actor does."""
        if self.control == NO_INSTRUCTION:
            return self.actor.act(observation, "")
        images = observation.views.images.copy()
        images[WRIST] = 0
        dark = copy(observation)
        dark.views = replace(observation.views, images=images)
        return self.actor.act(dark, instruction)


def kept(make: trials.Actors, control: str) -> trials.Actors:
    """Actors from which that is kept; the same ones where `control` is another."""
    return (lambda world: Kept(make(world), control)) if control in (NO_INSTRUCTION, NO_WRIST) else make


def trained(checkpoint: str | Path, *, control: str = "", device: str = "cpu", threads: int = 1) -> trials.Actors:
    """What makes the actor of each trial: always the same policy, which may do without a view.

    control: what is kept from it. Raises LiberoError when it cannot be used.
    """
    try:
        policy = Policy.from_pretrained(checkpoint, _embodiment(checkpoint), device=device, threads=threads)
    except (CheckpointError, EmbodimentError, EncoderError, PolicyError) as error:
        raise LiberoError(str(error)) from None
    if control == NO_WRIST and all(view.role != "wrist" for view in policy.embodiment.views):
        raise LiberoError(f"{checkpoint}: has no view of the wrist: there is nothing that --control {control} can hide")
    actor = Trained(policy)
    return kept(lambda _: actor, control)


def added(name: str, control: str = "") -> trials.Actors:
    """What makes the actor of each trial: the POLICY of an installed package, or of a file. Raises LiberoError."""
    try:
        make = LIBERO_POLICIES.load(name)
    except PluginError as error:
        raise LiberoError(str(error)) from None
    if not callable(make):
        raise LiberoError(f"{LIBERO_POLICIES.whose(name)}: POLICY is {make!r}, and must be a function of the world")
    return kept(make, control)


def _embodiment(checkpoint: str | Path) -> Embodiment:
    """LIBERO's with the views that the policy was trained with."""
    directory = locate(checkpoint)
    require_files(directory)
    theirs = load_contract(directory).embodiment
    if theirs.name != LIBERO.name:
        return LIBERO
    return replace(LIBERO.with_views([view.name for view in theirs.views]), mirrored=theirs.mirrored)
