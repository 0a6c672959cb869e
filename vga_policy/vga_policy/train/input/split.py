"""Which part of the data validates."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


def validation_count(share: float, count: int) -> int:
    """How many of `count` validate: one at least, and one is left to train on."""
    return min(max(1, round(share * count)), count - 1)


def validation_first(names: Sequence[str], seed: int) -> list[int]:
    """Positions of `names`, those to validate with first.

    What validates is decided by the names: of fewer or more episodes it is nearly the same ones, so that what one run
    held out has not trained the weights that it, or a run that goes on from it, starts from.
    """
    return sorted(range(len(names)), key=lambda position: blake2b(f"{seed}/{names[position]}".encode()).digest())
