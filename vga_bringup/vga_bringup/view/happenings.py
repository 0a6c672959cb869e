"""What happened, in words: modes, what became of chunks, what the hand took hold of."""

from __future__ import annotations

from typing import Any, NamedTuple

from vga_policy.episodes import topics
from vga_policy.message_constants import MODE_NAMES, Refusal
from vga_policy.units import nanoseconds


class Happening(NamedTuple):
    """What happened: stamp (ns), level (INFO, WARN, ERROR) and words."""

    stamp: int
    level: str
    words: str


class Happenings:
    """Tells of a message what is new with it."""

    def __init__(self) -> None:
        self._mode, self._verdict, self._holds = "", (b"", ""), False
        self._of = {
            topics.DRIVER_STATE: self._state,
            topics.CHUNK_VERDICT: self._decision,
            topics.GRIPPER_STATE: self._hand,
        }

    def of(self, topic: str, message: Any) -> Happening | None:
        """What has happened as of this message; None where that is known already, or the topic tells nothing."""
        told = self._of[topic](message) if topic in self._of else None
        return None if told is None else Happening(nanoseconds(message.header.stamp), *told)

    def _state(self, state: Any) -> tuple[str, str] | None:
        name = MODE_NAMES.get(state.mode, str(state.mode))
        words = f"{name}: {state.hold_reason}" if state.hold_reason else name
        known, self._mode = self._mode == words, words
        return None if known else ("ERROR" if state.needs_recovery else "INFO", words)

    def _decision(self, verdict: Any) -> tuple[str, str] | None:
        """Every refusal, and the first chunk that is accepted after one, or of a task."""
        now = (bytes(verdict.goal_id.uuid), "" if verdict.accepted else verdict.reason)
        known, self._verdict = self._verdict == now, now
        if verdict.reason == Refusal.TAKEN_OVER:
            return None if known else ("INFO", f"chunk {verdict.sequence} is not heeded: a person has taken over")
        if not verdict.accepted:
            return "WARN", f"chunk {verdict.sequence} refused, {verdict.reason}: {verdict.message}"
        return None if known else ("INFO", f"chunk {verdict.sequence} accepted")

    def _hand(self, hand: Any) -> tuple[str, str] | None:
        known, self._holds = self._holds == bool(hand.is_grasped), bool(hand.is_grasped)
        words = f"the hand {'holds something' if self._holds else 'has let go'}, {1e3 * hand.width:.0f} mm open"
        return None if known else ("INFO", words)
