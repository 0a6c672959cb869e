"""Timers that no change of the system's clock stops."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node


def every(node: Node, period: float, callback: Callable[[], None]) -> None:
    """Has `callback` called every `period` seconds, whatever happens to the node's clock.

    A timer of the node's own clock stands still while that clock does, and after it was set back, for as long as that.
    """
    node.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))
