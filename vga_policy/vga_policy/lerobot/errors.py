"""What is raised for a dataset, and how a value is quoted in a message."""

from __future__ import annotations

from typing import Any

QUOTED = 60  # characters of a value that a message shows


class LeRobotError(ValueError):
    """A dataset, or an episode of one, that cannot be read. The message names the file and what is wrong."""


def quoted(value: Any, limit: int = QUOTED) -> str:
    """A value as a message shows it: on one line, and not longer than `limit`."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
