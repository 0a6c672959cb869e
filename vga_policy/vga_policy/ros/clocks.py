"""Timers that no change of the system's clock stops, and whether another host's clock agrees with this one's."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from vga_policy.observation.resampler import CLOCK_TOLERANCE
from vga_policy.units import nanoseconds

RECENT = 1.0  # s a message's stamp counts


class ClockWatch:
    """Finds in the stamps of another node's messages that its host's clock is ahead of this one's.

    A message takes its time, so a stamp from the future proves an offset, and of several the one that is furthest ahead
    tells it best. One from the past proves nothing: the host whose clock is behind is the one that can tell.
    Stamps are compared with the system's clock; those of a replay are long past.
    """

    def __init__(self) -> None:
        self._leads: deque[tuple[float, int]] = deque()  # (arrival in s, lead in ns), of falling leads

    def take(self, stamp: Time) -> None:
        """The stamp of a message that has arrived just now."""
        lead = nanoseconds(stamp) - time.time_ns()
        while self._leads and self._leads[-1][1] <= lead:
            self._leads.pop()
        self._leads.append((time.monotonic(), lead))

    def problem(self) -> str:
        """What is wrong with the clocks; empty when nothing is known to be."""
        while self._leads and time.monotonic() - self._leads[0][0] > RECENT:
            self._leads.popleft()
        lead = self._leads[0][1] if self._leads else 0
        if lead <= CLOCK_TOLERANCE:
            return ""
        return f"clocks differ by {lead / 1e6:.0f} ms, limit {CLOCK_TOLERANCE / 1e6:.0f} ms: chrony on both PCs"


def every(node: Node, period: float, callback: Callable[[], None]) -> None:
    """Has `callback` called every `period` seconds, whatever happens to the node's clock.

    A timer of the node's own clock stands still while that clock does, and after it was set back, for as long as that.
    """
    node.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))
