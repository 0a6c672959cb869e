"""How the objects are placed from outside the physics process: by a wish left in shared memory.

The physics looks for one between two steps, so that no step ever sees half a scene. Neither side waits for the other
longer than it wants to.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import numpy as np

from vga_bringup.sim.physics.shared import Segment, segment_path
from vga_bringup.sim.scene.objects import Placement

SEGMENT = "placements"
POLL_S = 0.001


class PlacementInbox:
    """The physics' end. names: of all objects, in the order of the model."""

    def __init__(self, address: str, names: Iterable[str]) -> None:
        self._names = tuple(names)
        layout = _layout(len(self._names))
        self._segment = Segment.create(segment_path(address, SEGMENT), layout.itemsize)
        ring = np.ndarray((), layout, self._segment.memory)
        self._wished, self._granted, self._placements = ring["wished"], ring["granted"], ring["placements"]

    def take(self) -> Mapping[str, Placement] | None:
        """Where the objects are wanted, if that is news. Call `grant` when they lie there."""
        if self._wished == self._granted:
            return None
        rows = self._placements.tolist()
        return {name: Placement(*row) for name, row in zip(self._names, rows, strict=True)}

    def grant(self) -> None:
        """Tells the other end that its wish was carried out."""
        self._granted[...] = self._wished

    def close(self) -> None:
        """Gives the inbox up."""
        self._segment.close()


class PlacementOutbox:
    """The end of whoever arranges the scene; one at a time. Raises FileNotFoundError while no physics runs.

    names: as the inbox has them.
    """

    def __init__(self, address: str, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._segment = Segment.attach(segment_path(address, SEGMENT))
        ring = np.ndarray((), _layout(len(self._names)), self._segment.memory)
        self._wished, self._granted, self._placements = ring["wished"], ring["granted"], ring["placements"]

    def place(self, placements: Mapping[str, Placement], patience: float) -> bool:
        """Has every object placed; False when the physics has not done so after `patience` seconds."""
        self._placements[...] = [placements[name] for name in self._names]
        self._wished += np.uint64(1)
        deadline = time.monotonic() + patience
        while self._granted != self._wished:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def _layout(objects: int) -> np.dtype:
    return np.dtype([("wished", "u8"), ("granted", "u8"), ("placements", "f8", (objects, 3))])
