"""What a probe reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a thing stands."""

    READY = "ready"
    MISSING = "missing"  # needed here, and not there or not good enough
    ABSENT = "absent"  # not there; needed for some uses only
    UNKNOWN = "unknown"  # cannot be seen from here; the remedy says how to look


@dataclass(frozen=True)
class Finding:
    """One row of the table: what was looked at, how it stands, what was seen, and what to do unless it is ready."""

    subject: str
    state: Health
    seen: str
    remedy: str = ""


def needed(required: bool) -> Health:
    """The state of something that is not there."""
    return Health.MISSING if required else Health.ABSENT
