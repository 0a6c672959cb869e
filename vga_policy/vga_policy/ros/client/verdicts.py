"""What becomes of a task's chunks: the driver's decisions, counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from vga_msgs.msg import ChunkVerdict
from vga_policy.message_constants import Refusal
from vga_policy.ros import topics
from vga_policy.ros.client.session import Session
from vga_policy.units import SECOND, nanoseconds

DEPTH = 50


@dataclass
class Decided:
    """Chunks of one task. times: of the decisions, s. refusal: the newest one, in the driver's words. unheeded: while
    a person had taken over, which is no refusal."""

    times: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    refusal: str = ""
    unheeded: int = 0

    @property
    def executed(self) -> int:
        """How many the driver has taken."""
        return len(self.times) - self.refused.total() - self.unheeded

    def in_words(self) -> str:
        """How many were refused, by reason."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.refused.most_common())
        return f"{self.refused.total()} refused: {reasons}" if self.refused else "none refused"


class Verdicts:
    """Counts from its making on, through `session`."""

    def __init__(self, session: Session) -> None:
        self._decided: dict[bytes, Decided] = defaultdict(Decided)
        self._session = session
        session.node.create_subscription(ChunkVerdict, topics.DRIVER_CHUNK_VERDICT, self._note, DEPTH)

    @property
    def heard(self) -> bool:
        """Whether there is a driver whose decisions come here."""
        return bool(self._session.node.count_publishers(topics.DRIVER_CHUNK_VERDICT))

    def of(self, goal_id: bytes) -> Decided:
        """What was decided on the chunks of this task."""
        return self._decided[goal_id]

    def _note(self, verdict: Any) -> None:
        decided = self._decided[bytes(verdict.goal_id.uuid)]
        decided.times.append(nanoseconds(verdict.header.stamp) / SECOND)
        if verdict.reason == Refusal.TAKEN_OVER:
            decided.unheeded += 1
        elif not verdict.accepted:
            decided.refused[verdict.reason] += 1
            decided.refusal = verdict.message
