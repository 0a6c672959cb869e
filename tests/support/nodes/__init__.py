"""Programs that tests run as processes, each by itself: none imports anything of this package."""

from __future__ import annotations

from pathlib import Path


def program(name: str) -> str:
    """The file of the program `name`."""
    return str(Path(__file__).with_name(f"{name}.py"))
