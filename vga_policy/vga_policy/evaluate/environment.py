"""What a closed-loop trial needs of a world and of a policy, be it the simulated cell, LIBERO or a real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vga_policy.observation.observation import ActionChunk, Observation


class EnvironmentFault(RuntimeError):  # noqa: N818 - named for what happened
    """The world cannot go on with this trial (the arm stopped, a node ended). The message says why."""


@dataclass(frozen=True)
class Judgement:
    """How a trial stands, by the physical state. detail: in words.

    grasped: the object that the fingers hold, in words, empty for none; None where the task is not to pick something
    up, and where its object has left the table.
    """

    success: bool
    failed: bool
    detail: str = ""
    grasped: str | None = None


class Environment(Protocol):
    """A world that waits for the policy: time passes in `advance` only.

    Everything depends on the seed of `reset` and on the chunks executed, so that a trial can be repeated.
    """

    def reset(self, task: str, seed: int) -> str:
        """Sets the scene and the arm for one trial; what the policy is to be told. Raises EnvironmentFault."""

    def observe(self) -> Observation:
        """What the policy is shown now."""

    def execute(self, chunk: ActionChunk) -> None:
        """Hands over the chunk made from the last observation, for the steps until the next is handed over."""

    def advance(self) -> None:
        """Lets one control step pass. Raises EnvironmentFault."""

    def judge(self) -> Judgement:
        """How the trial stands."""

    def refused(self) -> Mapping[str, int]:
        """How many of the trial's chunks were not executed, by the safety filter's reason."""


class Actor(Protocol):
    """A policy as trials see it: `vga_policy.inference.policy.Policy`, a baseline behind a pipe, an oracle."""

    def act(self, observation: Observation) -> ActionChunk:
        """The chunk for one observation."""
