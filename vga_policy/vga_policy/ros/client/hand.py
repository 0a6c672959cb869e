"""The hand of a running driver, as sessions and commands see it: what it holds, and opened when they ask for it."""

from __future__ import annotations

from typing import Any

from std_srvs.srv import Trigger

from vga_msgs.msg import GripperState
from vga_policy.ros import topics
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

STATE, OPEN = topics.DRIVER_GRIPPER_STATE, topics.DRIVER_OPEN_HAND
STANDS_WITHIN = 3.0  # s
OPEN_WITHIN = 5.0  # s
NEARLY_OPEN = 0.9  # of the hand's opening
STOPPED = 0.01  # m short of the commanded opening, at which something stops the fingers


class Hand:
    """Through `session`. Every request raises GraphError saying what is wrong."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state: Any = None  # the newest since the last request
        self._subscription = session.node.create_subscription(GripperState, STATE, self._on_state, 1)
        self._open = session.node.create_client(Trigger, OPEN)

    def held(self) -> float:
        """Opening (m) around what the hand holds, also where that only keeps the fingers from closing; 0: nothing."""
        self._state = None
        if not self._session.spin_until(lambda: self._state is not None and not self._state.moving, STANDS_WITHIN):
            silent = f"nothing comes on {self._subscription.topic_name}"
            what = silent if self._state is None else "the hand is still moving"
            raise GraphError(f"{what} after {STANDS_WITHIN:g} s: see `vga doctor`")
        state = self._state
        stopped = state.width > state.commanded_width + STOPPED
        return float(state.width) if state.is_grasped or stopped else 0.0

    def open(self) -> None:
        """Opens it all the way and waits for that: what it holds falls."""
        response = self._session.call(self._open, Trigger.Request())
        if not response.success:
            raise GraphError(f"the hand is not opened: {response.message}")
        self._state = None
        if not self._session.spin_until(self._is_open, OPEN_WITHIN):
            raise GraphError(f"the hand does not open within {OPEN_WITHIN:g} s: see `vga doctor`")

    def _is_open(self) -> bool:
        state = self._state
        return state is not None and not state.moving and 0.0 < NEARLY_OPEN * state.max_width <= state.width

    def _on_state(self, state: Any) -> None:
        self._state = state
