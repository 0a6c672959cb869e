"""How training fails when it is expected to."""

from __future__ import annotations


class TrainingError(ValueError):
    """A run that cannot start or go on. The message says why, what is left, and what to do."""


class InterruptedRunError(TrainingError):
    """A run that was asked to end; its state is saved."""
