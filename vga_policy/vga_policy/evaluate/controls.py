"""Controls: trials in which the policy is kept from what it should be using. A good policy drops to chance in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vga_policy.evaluate.environment import Actor, Environment, Judgement
from vga_policy.evaluate.rollout import SteppedRollout, run_trial
from vga_policy.observation.observation import ActionChunk, Observation

SHUFFLED = {"shuffled": ("fixed", "wrist"), "shuffled-fixed": ("fixed",), "shuffled-wrist": ("wrist",)}
"""Roles of the cameras whose images are another trial's."""
CONTROLS = (*SHUFFLED, "no-instruction")
OTHER_TRIAL = 1_000_003  # added to a trial's seed for the trial whose images it is shown


class Control(Environment):
    """An environment whose observations are tampered with; everything else is the real one's."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def reset(self, task: str, seed: int) -> str:
        """As the real environment's."""
        return self._environment.reset(task, seed)

    def observe(self) -> Observation:
        """The real observation."""
        return self._environment.observe()

    def execute(self, chunk: ActionChunk) -> None:
        """As the real environment's."""
        self._environment.execute(chunk)

    def advance(self) -> None:
        """As the real environment's."""
        self._environment.advance()

    def judge(self) -> Judgement:
        """As the real environment's."""
        return self._environment.judge()

    def refused(self) -> Mapping[str, int]:
        """As the real environment's."""
        return self._environment.refused()


class NoInstruction(Control):
    """The policy is told nothing."""

    def observe(self) -> Observation:
        """The real observation with an empty instruction."""
        return replace(super().observe(), instruction="")


class ShuffledImages(Control):
    """The policy is shown in `slots`, step by step, what it saw in another trial: nothing there tells of this scene.

    That other trial of the same task, with a seed far away, is run first, with the same policy.
    """

    def __init__(
        self,
        environment: Environment,
        actor: Actor,
        slots: Collection[int],
        *,
        dt: float,
        max_steps: int,
        every: int = 1,
    ) -> None:
        super().__init__(environment)
        self._actor, self._slots, self._dt, self._max_steps, self._every = actor, slots, dt, max_steps, every
        self._seen: list[tuple[bytes, ...]] = []
        self._step = 0

    def reset(self, task: str, seed: int) -> str:
        """Runs the other trial, then resets for this one."""
        self._seen = []
        run_trial(
            SteppedRollout(self._environment, self._actor, self._max_steps, self._every),
            task,
            seed + OTHER_TRIAL,
            dt=self._dt,
            watch=lambda observation: self._seen.append(tuple(map(_packed, observation.images))),
        )
        self._step = 0
        return super().reset(task, seed)

    def observe(self) -> Observation:
        """The real observation with images of the other trial, which begins again when it was shorter."""
        real, others = super().observe(), self._seen[self._step // self._every % len(self._seen)]
        images = (
            simplejpeg.decode_jpeg(others[slot]) if slot in self._slots else image
            for slot, image in enumerate(real.images)
        )
        return replace(real, images=tuple(images))

    def advance(self) -> None:
        """As the real environment's."""
        self._step += 1
        super().advance()


def control(
    name: str,
    environment: Environment,
    actor: Actor,
    *,
    roles: Sequence[str],
    dt: float,
    max_steps: int,
    every: int = 1,
) -> Environment:
    """The environment under the control of this name; as it is for an empty one. Raises ValueError.

    roles: of the cameras in the slots. every: as the rollout's.
    """
    if not name:
        return environment
    if name == "no-instruction":
        return NoInstruction(environment)
    if name in SHUFFLED:
        slots = [slot for slot, role in enumerate(roles) if role in SHUFFLED[name]]
        return ShuffledImages(environment, actor, slots, dt=dt, max_steps=max_steps, every=every)
    raise ValueError(f"control {name!r}: use one of {', '.join(CONTROLS)}")


def _packed(image: NDArray[np.uint8]) -> bytes:
    """A JPEG hardly worse than the image: a trial of raw images would not fit into memory."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=95, colorsubsampling="444"))
