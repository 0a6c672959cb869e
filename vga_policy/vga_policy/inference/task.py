"""One task: the run of the policy on one instruction, from its acceptance to its outcome."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any

from vga_policy.message_constants import TaskOutcome
from vga_policy.units import SECOND


class Phase(Enum):
    """WAITING for the driver and the text encoder, LIVE: chunks are published, or ENDED."""

    WAITING = auto()
    LIVE = auto()
    ENDED = auto()


class Task:
    """Counts control steps and chunks; ends once, for good.

    Ending and publishing exclude each other: what is posted once `end` has returned comes after all of this task.

    goal: whose task it is; only handed through. encoded: whether the policy has encoded the instruction.
    chunks: published so far.
    waiting_for: why no chunk is being published; empty when running.
    """

    def __init__(
        self, goal_id: bytes, instruction: str, max_steps: int, dt: float, accepted_ns: int, goal: Any = None
    ) -> None:
        """max_steps: control steps of `dt` seconds until the task should end; 0 for no limit."""
        self.goal_id = goal_id
        self.instruction = instruction
        self.max_steps = max_steps
        self.accepted_ns = accepted_ns
        self.goal = goal
        self.encoded = False
        self.steps = 0
        self.chunks = 0
        self.waiting_for = ""
        self.message = ""
        self.outcome: TaskOutcome | None = None
        self._dt_ns = dt * SECOND
        self._started = False
        self._first_tick_ns: int | None = None
        self._lock = threading.Lock()

    @property
    def phase(self) -> Phase:
        """Where the task stands."""
        if self.outcome is not None:
            return Phase.ENDED
        return Phase.LIVE if self._started else Phase.WAITING

    def start(self) -> None:
        """Driver and policy are ready: chunks may be published; the first `advance` is step 0."""
        self._started = True

    def advance(self, now_ns: int) -> bool:
        """Counts the control steps elapsed by now; True when they have reached the limit."""
        if self._first_tick_ns is None:
            self._first_tick_ns = now_ns
        self.steps = round((now_ns - self._first_tick_ns) / self._dt_ns)
        return 0 < self.max_steps <= self.steps

    def end(self, outcome: TaskOutcome, message: str) -> None:
        """Ends the task; the first outcome stays."""
        with self._lock:
            if self.outcome is None:
                self.outcome, self.message = outcome, message

    @contextmanager
    def publishing(self) -> Iterator[bool]:
        """Yields whether the task is live, and keeps it from ending meanwhile."""
        with self._lock:
            yield self.phase is Phase.LIVE
