"""What is raised for a dataset, and how a value is quoted in a message."""

from __future__ import annotations

from typing import Any

from vga_policy.wording import shortened

QUOTED = 60  # characters of a value that a message shows
FOREIGN = 150  # characters of an error that others raised


class LeRobotError(ValueError):
    """A dataset, or an episode of one, that cannot be read. The message names the file and what is wrong."""


def quoted(value: Any, limit: int = QUOTED) -> str:
    """A value as a message shows it: on one line, and not longer than `limit`."""
    return shortened(" ".join(repr(value).split()), limit)


def in_one_line(error: Exception, ours: tuple[type[Exception], ...], where: object = "") -> str:
    """What went wrong, on one line; where the words are not `ours`, after `where` and with the error's kind."""
    if isinstance(error, ours):
        return (str(error).splitlines() or [type(error).__name__])[0]
    prefix = f"{where}: " if where else ""
    return f"{prefix}{type(error).__name__}: {quoted(str(error), FOREIGN)[1:-1]}"
