"""The driver, as others ask it: modes, motions to rest, home and out of a reflex, and the hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from threading import Event
from typing import Any

from rclpy.action import ActionClient
from rclpy.client import Client
from std_srvs.srv import Trigger

from vga_msgs.action import Home, Recover
from vga_msgs.msg import DriverState, GripperState
from vga_msgs.srv import SetMode
from vga_policy.message_constants import MODE_NAMES, Mode
from vga_policy.ros import topics
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError, RefusedError

ACTION_WITHIN = 60.0  # s
STANDS_WITHIN = 3.0  # s
OPEN_WITHIN = 5.0  # s
NEARLY_OPEN = 0.9  # of the hand's opening
STOPPED = 0.01  # m short of the commanded opening, at which something stops the fingers


class DriverClient:
    """Through `session`. Every request waits for its answer and raises GraphError where there is none, RefusedError
    with the driver's reason where it does not do what was asked."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state = Newest(session, DriverState, topics.DRIVER_STATE, topics.LATCHED)

    # What it says.

    @property
    def state(self) -> DriverState | None:
        """The newest DriverState; None while the driver is silent."""
        return self._state.message

    @property
    def mode(self) -> Mode | None:
        """The mode, as of the newest state; None while the driver is silent, or in one that is unknown here."""
        state = self.state
        return None if state is None or state.mode not in MODE_NAMES else Mode(state.mode)

    @property
    def goal(self) -> bytes:
        """The 16 bytes of the goal that is live for it, whoever commands; zeros where none is, or it is silent."""
        state = self.state
        return bytes(16) if state is None else bytes(state.goal_id.uuid)

    # Modes.

    def hold(self) -> None:
        """Sets HOLD: the arm brakes, and accepts no motion. Does not wait until it rests: see `state.at_rest`."""
        self._set_mode(Mode.HOLD)

    def teleop(self) -> None:
        """Sets TELEOP: the arm follows the leader."""
        self._set_mode(Mode.TELEOP)

    def policy(self) -> None:
        """Sets POLICY: the driver accepts the chunks of the policy's next task."""
        self._set_mode(Mode.POLICY)

    def take_over(self) -> None:
        """From POLICY to TELEOP in motion: the arm follows the leader's motion from where both are; the task lives."""
        self._set_mode(Mode.TELEOP, keep_goal=True)

    def hand_back(self) -> None:
        """Back to POLICY and the task that was taken over from, also when the leader had gone silent meanwhile."""
        self._set_mode(Mode.POLICY, keep_goal=True)

    # Motions.

    def stop(self) -> str:
        """Decelerates the arm to HOLD; what the driver says of it."""
        return self._trigger(self._stop)

    def home(self, position: Sequence[float] = (), speed: float = 0.0, stop: Event | None = None) -> str:
        """Moves the arm home, in HOLD, and waits until it is there; what the driver says of it. The hand keeps still.

        position: joint angles (rad) to go to instead. speed: share of the cell's speed; 0: its homing speed. stop: when
        set, the motion is canceled and GraphError raised.
        """
        goal = Home.Goal(speed_scale=speed, position=list(position))
        return self._act(self._home, topics.DRIVER_HOME, goal, stop)

    def recover(self, stop: Event | None = None) -> str:
        """Clears a reflex, or rebuilds the connection to the arm, which stays in HOLD; what the driver says of it.

        stop: when set, it is canceled and GraphError raised.
        """
        return self._act(self._recover, topics.DRIVER_RECOVER, Recover.Goal(), stop)

    # The hand.

    def held(self) -> float:
        """Opening (m) around what the hand holds, also where that only keeps the fingers from closing; 0: nothing."""
        self._gripper.forget()
        if not self._session.spin_until(self._stands, STANDS_WITHIN):
            silent = self._gripper.message is None
            what = f"nothing comes on {self._gripper.topic}" if silent else "the hand is still moving"
            raise GraphError(f"{what} after {STANDS_WITHIN:g} s: see `vga doctor`")
        hand = self._gripper.message
        stopped = hand.width > hand.commanded_width + STOPPED
        return float(hand.width) if hand.is_grasped or stopped else 0.0

    def open(self) -> None:
        """Opens the hand all the way and waits for that: what it holds falls."""
        self._trigger(self._open, "the hand is not opened")
        self._gripper.forget()
        if not self._session.spin_until(self._is_open, OPEN_WITHIN):
            raise GraphError(f"the hand does not open within {OPEN_WITHIN:g} s: see `vga doctor`")

    # How. What joins the graph disturbs it: that which few need joins with its first use.

    @cached_property
    def _gripper(self) -> Newest:
        return Newest(self._session, GripperState, topics.DRIVER_GRIPPER_STATE)

    @cached_property
    def _modes(self) -> Client:
        return self._session.node.create_client(SetMode, topics.DRIVER_SET_MODE)

    @cached_property
    def _stop(self) -> Client:
        return self._session.node.create_client(Trigger, topics.DRIVER_STOP)

    @cached_property
    def _open(self) -> Client:
        return self._session.node.create_client(Trigger, topics.DRIVER_OPEN_HAND)

    @cached_property
    def _home(self) -> ActionClient:
        return self._session.action_client(Home, topics.DRIVER_HOME)

    @cached_property
    def _recover(self) -> ActionClient:
        return self._session.action_client(Recover, topics.DRIVER_RECOVER)

    def _set_mode(self, mode: Mode, keep_goal: bool = False) -> None:
        # To arm again would undo a stop that somebody asked for in between.
        request = SetMode.Request(mode=mode, keep_goal=keep_goal)
        response = self._session.call(self._modes, request, repeatable=mode is Mode.HOLD)
        if not response.success:
            raise RefusedError(response.message, f"the driver refuses {mode.name}")

    def _trigger(self, client: Client, what: str = "") -> str:
        response = self._session.call(client, Trigger.Request(), repeatable=True)
        if not response.success:
            raise RefusedError(response.message, what)
        return str(response.message)

    def _act(self, client: ActionClient, name: str, goal: Any, stop: Event | None) -> str:
        result = self._session.act(client, name, goal, stop or Event(), ACTION_WITHIN)
        if not result.success:
            raise RefusedError(result.message)
        return str(result.message)

    def _stands(self) -> bool:
        hand = self._gripper.message
        return hand is not None and not hand.moving

    def _is_open(self) -> bool:
        hand = self._gripper.message
        return hand is not None and not hand.moving and 0.0 < NEARLY_OPEN * hand.max_width <= hand.width
