"""Which part of the data validates."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path


def validation_count(share: float, count: int) -> int:
    """How many of `count` validate: one at least, and one is left to train on."""
    return min(max(1, round(share * count)), count - 1)


def validation_first(paths: Sequence[Path], seed: int) -> list[int]:
    """Positions of `paths`, those to validate with first.

    What validates is decided by the names: of fewer or more episodes it is nearly the same ones, so that what one run
    held out has not trained the weights that it, or a run that goes on from it, starts from. Episodes of one name, as
    LIBERO's tasks have them, follow one another by chance, not task by task.
    """

    def drawn(position: int) -> tuple[bytes, bytes]:
        path = paths[position]
        return _digest(f"{seed}/{path.name}"), _digest(f"{seed}/{path.parent.name}/{path.name}")

    return sorted(range(len(paths)), key=drawn)


def _digest(text: str) -> bytes:
    return blake2b(text.encode()).digest()
