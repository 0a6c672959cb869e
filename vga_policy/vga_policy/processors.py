"""How busy the processors of this machine are: where they have too much to do, images and chunks come late."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from pathlib import Path

BUSY = 0.95  # share of the processors' time above which what came late is put down to them
LATE = 0.85  # the same, where something is known to have come late; a healthy simulated graph takes 0.7 of two
RECENT = 5.0  # s
LOOK = 0.5  # s between two looks
STAT = Path("/proc/stat")
IDLE, WAITS_FOR_DISK, COUNTED = 3, 4, 8  # columns; those after COUNTED are part of others


class Processors:
    """Watches the processors of this machine over the last `recent` s, or since it was made; `look` now and then."""

    def __init__(self, recent: float = RECENT) -> None:
        self._recent = recent
        self._looks: deque[tuple[float, float, float]] = deque([_now()])

    def look(self) -> None:
        """Lets only the recent past count; any number of times a second."""
        now = time.monotonic()
        if now - self._looks[-1][0] >= LOOK and self._recent < math.inf:
            self._looks.append(_now())
        while len(self._looks) > 1 and self._looks[1][0] < now - self._recent:
            self._looks.popleft()

    @property
    def busy(self) -> float:
        """Share of their time, 0 to 1."""
        (_, busy, total), (_, busy_now, total_now) = self._looks[0], _now()
        return (busy_now - busy) / max(total_now - total, 1e-9)

    def overload(self, above: float = BUSY) -> str:
        """What to do where they are busier than this share of their time; else empty."""
        return overload(busy) if (busy := self.busy) > above else ""


def overload(busy: float) -> str:
    """What to do where the processors were this busy (share of their time)."""
    return (
        f"the {os.cpu_count()} processors were {100 * busy:.0f} % busy, too much for images and chunks to be on time: "
        "stop what else runs here, or take a machine with more or faster ones"
    )


def _now() -> tuple[float, float, float]:
    """The time (s), and the processors' time until now: busy, and in all; in ticks."""
    with STAT.open() as file:
        ticks = [float(word) for word in file.readline().split()[1 : 1 + COUNTED]]
    return time.monotonic(), sum(ticks) - ticks[IDLE] - ticks[WAITS_FOR_DISK], sum(ticks)
