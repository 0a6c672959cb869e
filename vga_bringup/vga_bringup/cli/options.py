"""What the commands of this room share of their command lines."""

from __future__ import annotations

FIRST_TASK = "pick_cube"  # of the simulated cell, unless another is asked for


def robot_option(namespace: str) -> str:
    """The same option, as the next command line has it; empty for the root."""
    return f" --namespace {namespace}" if namespace else ""
