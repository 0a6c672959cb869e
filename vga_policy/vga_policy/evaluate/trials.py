"""Closed-loop trials as the paper runs them (section 6.2, appendix F.2).

A trial starts from a scene and an arm pose drawn from its seed. It succeeds when the physical state says so within the
step limit; appendix F.2 names two limits, 800 and 1200 control steps, so every result states its own. A trial also ends
as soon as it cannot succeed any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vga_policy.evaluate.environment import Actor, Environment, EnvironmentFault
from vga_policy.observation.observation import Observation

TRIALS = 20
MAX_STEPS = 1200


class Outcome(StrEnum):
    """How a trial ended. FAILED: it could not succeed any more; FAULT: the arm stopped, or a program did."""

    SUCCESS = "success"
    FAILED = "failed"
    STEP_LIMIT = "step limit"
    FAULT = "fault"


@dataclass(frozen=True)
class Trial:
    """One trial. steps: control steps until its end; seconds: the same as time of its world.

    reason: why it ended, in words. grasped: object picked up at the end, empty for none; None where the task is not to
    pick something up. chunks: handed over. refused: chunks not executed, by the safety filter's reason. chunk_rate:
    mean number of chunks a second; None on simulated time.
    """

    task: str
    seed: int
    instruction: str
    outcome: Outcome
    steps: int
    seconds: float
    reason: str = ""
    grasped: str | None = None
    chunks: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    chunk_rate: float | None = None

    @property
    def success(self) -> bool:
        """Whether the task was done."""
        return self.outcome is Outcome.SUCCESS


Watch = Callable[[Observation], None]


def run_trial(
    environment: Environment,
    actor: Actor,
    task: str,
    seed: int,
    *,
    dt: float,
    max_steps: int = MAX_STEPS,
    watch: Watch | None = None,
) -> Trial:
    """One trial: the actor is asked at every control step of `dt` seconds, as the policy node asks its policy.

    watch: called with every observation.
    """
    instruction, step, chunks = "", 0, 0

    def ended(outcome: Outcome, reason: str, grasped: str | None = None) -> Trial:
        refused = dict(environment.refused())
        return Trial(task, seed, instruction, outcome, step, round(step * dt, 6), reason, grasped, chunks, refused)

    try:
        instruction = environment.reset(task, seed)
        while step < max_steps:
            observation = environment.observe()
            if watch is not None:
                watch(observation)
            chunks += 1
            environment.execute(actor.act(observation))
            environment.advance()
            step += 1
            judgement = environment.judge()
            if judgement.success:
                return ended(Outcome.SUCCESS, judgement.detail, judgement.grasped)
            if judgement.failed:
                return ended(Outcome.FAILED, judgement.detail, judgement.grasped)
    except EnvironmentFault as fault:
        return ended(Outcome.FAULT, str(fault))
    return ended(Outcome.STEP_LIMIT, judgement.detail, judgement.grasped)
