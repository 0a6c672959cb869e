"""Timers that no change of the system's clock stops, whether it was set, and whether another host's agrees with it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from vga_policy.observation.resampler import CLOCK_TOLERANCE
from vga_policy.units import SECOND, nanoseconds

RECENT = 1.0  # s a message's stamp counts
SETTLING = 1.0  # s after the clock was set in which messages stamped before that may still arrive
UNDISTURBED = 1_000_000  # ns that reading both clocks may take, for them to be compared


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


class SetClock:
    """Finds that the system's clock was set. Call `look` often; no message says it.

    A clock that is merely slewed takes the steady one with it, so the two differ by another amount only after a step.

    system, steady: the two clocks, ns.
    """

    def __init__(self, system: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._system, self._steady = system, steady
        self._offset: int | None = None
        self._set_at, self._step = 0, 0

    def look(self) -> bool:
        """Whether the clock was set since the last look, by more than what clocks may differ by."""
        before = self._steady()
        offset = self._system() - before
        after = self._steady()
        if after - before > UNDISTURBED:
            return False  # something came in between; the next look tells
        if self._offset is None:
            self._offset = offset
        step = offset - self._offset
        if abs(step) <= CLOCK_TOLERANCE:
            return False
        self._offset, self._set_at, self._step = offset, after, step
        return True

    @property
    def problem(self) -> str:
        """That the clock has just been set, in words; empty when it was not."""
        if not self._step or self._steady() - self._set_at > SETTLING * SECOND:
            return ""
        way = "back" if self._step < 0 else "forward"
        by = f"{abs(self._step) / SECOND:.2f} s"
        return f"the system's clock was set {way} by {by}: have chrony slew it, not step it, while the robot runs"


def every(node: Node, period: float, callback: Callable[[], None]) -> None:
    """Has `callback` called every `period` seconds, whatever happens to the node's clock.

    A timer of the node's own clock stands still while that clock does, and after it was set back, for as long as that.
    """
    node.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def each_step(node: Node, dt: float, callback: Callable[[], None]) -> None:
    """Has `callback` called every `dt` seconds of simulated time where the node goes by that, else as `every` does."""
    if node.get_clock().ros_time_is_active:
        node.create_timer(dt, callback)
    else:
        every(node, dt, callback)
