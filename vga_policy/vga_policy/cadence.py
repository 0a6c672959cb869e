"""A loop with absolute deadlines that knows how well it kept them."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class CadenceReport:
    """Of the ticks since the last report. rate_hz: achieved. worst: longest time between two ticks, s.

    overruns: ticks that came more than a period late, counted since the start.
    """

    rate_hz: float
    worst: float
    overruns: int


class Cadence:
    """Paces one thread at `rate_hz`. A late tick is run at once; missed ones are skipped, not made up for."""

    def __init__(self, rate_hz: float) -> None:
        self._period = 1.0 / rate_hz
        self._deadline = time.monotonic()
        self._last = self._deadline
        self._ticks = 0
        self._worst = 0.0
        self._overruns = 0
        self._reported = self._deadline

    def wait(self) -> None:
        """Sleeps until the next deadline."""
        self._deadline += self._period
        now = time.monotonic()
        if now < self._deadline:
            time.sleep(self._deadline - now)
            now = time.monotonic()
        if now - self._deadline > self._period:
            self._overruns += 1
            self._deadline = now
        self._worst = max(self._worst, now - self._last)
        self._last = now
        self._ticks += 1

    def report(self) -> CadenceReport:
        """Figures since the last report."""
        now = time.monotonic()
        rate = self._ticks / max(now - self._reported, 1e-9)
        report = CadenceReport(rate, self._worst, self._overruns)
        self._ticks, self._worst, self._reported = 0, 0.0, now
        return report
