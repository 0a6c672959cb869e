"""The newest chunks of a policy, and how each of them is drawn."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FAN = 10  # chunks that are drawn at a time
ACCEPTED, REFUSED, UNDECIDED = (0, 190, 255), (255, 60, 60), (255, 200, 0)
FADED = np.array((120, 130, 150))  # what the color of an old one goes over into
WIDEST, NARROWEST = 4.0, 1.5  # points on the screen, of the newest and the oldest


@dataclass
class PlannedPath:
    """What a policy means to do: stamp (ns), the way of the fingertips [H, 3] (m), and what the driver decided.

    accepted: None while no verdict is known, and where a person has taken over.
    """

    goal: bytes
    sequence: int
    stamp: int
    way: NDArray[np.float64]
    accepted: bool | None = None

    @property
    def color(self) -> tuple[int, int, int]:
        """Of the newest."""
        return UNDECIDED if self.accepted is None else ACCEPTED if self.accepted else REFUSED


class Fan:
    """The last FAN chunks, the newest last."""

    def __init__(self) -> None:
        self._chunks: deque[PlannedPath] = deque(maxlen=FAN)

    def add(self, chunk: PlannedPath) -> None:
        """A chunk has come."""
        self._chunks.append(chunk)

    def decide(self, goal: bytes, sequence: int, accepted: bool | None) -> PlannedPath | None:
        """The driver has decided on a chunk, which is returned; None when it is not kept."""
        for chunk in reversed(self._chunks):
            if (chunk.goal, chunk.sequence) == (goal, sequence):
                chunk.accepted = accepted
                return chunk
        return None

    def until(self, newest: PlannedPath) -> list[tuple[PlannedPath, list[int], float]]:
        """The chunks up to this one with the color (RGB) and width (points) that each has beside it, newest last."""
        shown = [chunk for chunk in self._chunks if chunk.stamp <= newest.stamp]
        ages = np.linspace((len(shown) - 1) / FAN, 0.0, len(shown))
        return [
            (
                chunk,
                np.round((1 - age) * np.array(chunk.color) + age * FADED).astype(int).tolist(),
                float(WIDEST + age * (NARROWEST - WIDEST)),
            )
            for chunk, age in zip(shown, ages, strict=True)
        ]
