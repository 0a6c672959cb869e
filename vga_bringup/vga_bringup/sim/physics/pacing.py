"""Keeping step with real time."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pacer:
    """Paces a loop by absolute deadlines, so that a late turn is made up for by the next ones.

    A loop that fell further behind than `give_up` seconds starts counting anew: bursts stay short, and the lost time is
    lost. `clock` and `sleep` are exchanged in tests.
    """

    def __init__(
        self,
        period: float,
        give_up: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period = period
        self._give_up = give_up
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock()

    def wait(self) -> None:
        """Returns when the next turn is due."""
        self._deadline += self._period
        early = self._deadline - self._clock()
        if early > 0:
            self._sleep(early)
        elif early < -self._give_up:
            self._deadline = self._clock()
