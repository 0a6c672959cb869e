"""What can go wrong with a study, and its library."""

from __future__ import annotations

from importlib.util import find_spec


class StudyError(RuntimeError):
    """A study that cannot be made, run or reported. The message says why and what to do; nothing recorded is lost."""


def require_fieldtrial() -> None:
    """Raises StudyError where the library of studies is not installed."""
    if find_spec("fieldtrial") is None:
        raise StudyError("fieldtrial is not installed: make setup PURPOSES=trials")
