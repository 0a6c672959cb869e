"""Closed-loop trials as the paper runs them (section 6.2, appendix F.2).

A trial starts from a scene and an arm pose drawn from its seed. It succeeds when the physical state says so within the
step limit; appendix F.2 names two limits, 800 and 1200 control steps, so every result states its own. A trial also ends
as soon as it cannot succeed any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from pydantic import ConfigDict

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

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

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
