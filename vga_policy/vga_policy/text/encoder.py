"""Text encoders: an instruction becomes one vector, once, outside the control loop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class TextEncoder(Protocol):
    """Turns an instruction into a vector of fixed width. Equal texts give equal vectors, on every machine."""

    @property
    def width(self) -> int:
        """Dimension of the vectors."""

    def encode(self, text: str) -> NDArray[np.float32]:
        """The embedding [width] of one instruction."""

    @staticmethod
    def parameters() -> int:
        """How many it has, counted without its weights."""


@dataclass(frozen=True)
class HashedNgrams:
    """Bag of words and of their letter trigrams, hashed into `width` signed bins, unit length.

    Needs no weights: it tells instructions apart and puts those with common words close, no more.
    """

    width: int = 256

    @staticmethod
    def parameters() -> int:
        """None."""
        return 0

    def encode(self, text: str) -> NDArray[np.float32]:
        """The embedding [width]; zero for a text without letters or digits."""
        bins = np.zeros(self.width, dtype=np.float32)
        for term in _terms(text):
            digest = int.from_bytes(blake2b(term.encode(), digest_size=8).digest(), "little")
            bins[(digest >> 1) % self.width] += 1.0 if digest & 1 else -1.0
        length = float(np.linalg.norm(bins))
        return bins / length if length else bins


def _terms(text: str) -> Iterator[str]:
    for word in re.findall(r"\w+", text.lower()):
        yield word
        marked = f"<{word}>"
        yield from (f"#{marked[i : i + 3]}" for i in range(len(marked) - 2))
