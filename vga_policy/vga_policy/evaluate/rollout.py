"""One trial, from its scene to its outcome: the same on simulated time and through a graph in real time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from vga_policy.evaluate.environment import Actor, Environment, EnvironmentFault, Judgement
from vga_policy.evaluate.trials import MAX_STEPS, Outcome, Trial
from vga_policy.observation.observation import Observation

Watch = Callable[[Observation], None]


@dataclass(frozen=True)
class Tally:
    """What a trial took, in the terms of `Trial`. fault: what ended it too early, in words; None where nothing did."""

    steps: int
    chunks: int
    refused: Mapping[str, int]
    chunk_rate: float | None = None
    fault: str | None = None


class Rollout(Protocol):
    """A policy that acts in a world: asked at every step, or by itself while time passes."""

    def begin(self, task: str, seed: int) -> str:
        """Sets the scene and lets the policy begin; what it is told. Raises EnvironmentFault."""

    def step(self, watch: Watch | None) -> None:
        """Lets one control step pass, or less if that decides the trial. Raises EnvironmentFault.

        watch: called with what there is to see.
        """

    def over(self) -> bool:
        """Whether the policy acts no more."""

    def judge(self) -> Judgement:
        """How the trial stands."""

    def end(self) -> Tally:
        """Ends the trial, if it has not ended by itself."""


class SteppedRollout:
    """In a world that waits: the actor is asked at every control step, as the policy node asks its policy.

    every: asks it in every so many steps only, and lets its chunk be executed meanwhile; nothing is observed then.
    """

    def __init__(self, environment: Environment, actor: Actor, max_steps: int = MAX_STEPS, every: int = 1) -> None:
        self._environment, self._actor, self._max_steps, self._every = environment, actor, max_steps, every
        self._steps = self._chunks = 0

    def begin(self, task: str, seed: int) -> str:
        """Resets the environment. Raises EnvironmentFault."""
        self._steps = self._chunks = 0
        return self._environment.reset(task, seed)

    def step(self, watch: Watch | None) -> None:
        """One control step, before which the actor is asked if it is its time. Raises EnvironmentFault."""
        if self._steps % self._every == 0:
            observation = self._environment.observe()
            if watch is not None:
                watch(observation)
            self._chunks += 1
            self._environment.execute(self._actor.act(observation))
        self._environment.advance()
        self._steps += 1

    def over(self) -> bool:
        """Whether all steps were taken."""
        return self._steps >= self._max_steps

    def judge(self) -> Judgement:
        """The environment's judgement."""
        return self._environment.judge()

    def end(self) -> Tally:
        """Nothing is to be ended."""
        return Tally(self._steps, self._chunks, dict(self._environment.refused()))


def run_trial(rollout: Rollout, task: str, seed: int, *, dt: float, watch: Watch | None = None) -> Trial:
    """One trial, until it is decided or the policy acts no more. dt: s of a control step; watch: see `Rollout.step`."""
    instruction, judgement, fault = "", Judgement(False, False), None
    try:
        instruction = rollout.begin(task, seed)
        judgement = _until_its_end(rollout, watch)
    except EnvironmentFault as error:
        fault = str(error)
    tally = rollout.end()
    outcome, reason = _outcome(judgement, tally.fault if fault is None else fault)
    return Trial(
        task=task,
        seed=seed,
        instruction=instruction,
        outcome=outcome,
        steps=tally.steps,
        seconds=round(tally.steps * dt, 6),
        reason=reason,
        grasped=judgement.grasped,
        chunks=tally.chunks,
        refused=tally.refused,
        chunk_rate=tally.chunk_rate,
    )


def _until_its_end(rollout: Rollout, watch: Watch | None) -> Judgement:
    """How the trial stands at its end."""
    while True:
        judgement = rollout.judge()
        if judgement.success or judgement.failed or rollout.over():
            return judgement
        rollout.step(watch)


def _outcome(judgement: Judgement, fault: str | None) -> tuple[Outcome, str]:
    """How it ended, and why in words. What was decided before a fault stays decided."""
    if judgement.success:
        return Outcome.SUCCESS, judgement.detail
    if judgement.failed:
        return Outcome.FAILED, judgement.detail
    if fault is not None:
        return Outcome.FAULT, fault
    return Outcome.STEP_LIMIT, judgement.detail
