"""A trial's scene through the ROS graph: objects arranged, arm at its start, hand open, and how the trial stands."""

from __future__ import annotations

import time
from typing import Any

from rclpy.action import ActionClient
from vga_policy.evaluate.environment import Judgement
from vga_policy.ros import topics
from vga_policy.ros.client.hand import Hand
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

from vga_bringup.trials.conditions import judgement
from vga_msgs.action import Home
from vga_msgs.msg import TaskState
from vga_msgs.srv import ArrangeScene, SetMode

SPEED = 0.5  # of the cell's speed: between trials nobody stands beside a simulated arm
HOMED_WITHIN = 60.0  # s
JUDGED_WITHIN = 5.0  # s
AT_REST_WITHIN = 5.0  # s
STALE = 2.0  # s without a judgement after which there is none


class Scene:
    """Sets one trial after another in the simulated cell. Every request raises GraphError when it is refused."""

    def __init__(self, session: Session) -> None:
        self._session = session
        node = session.node
        self._arrange = node.create_client(ArrangeScene, topics.SIM_CELL_ARRANGE)
        self._set_mode = node.create_client(SetMode, topics.DRIVER_SET_MODE)
        self._home = ActionClient(node, Home, topics.DRIVER_HOME)
        self._state: TaskState | None = None
        self._heard = 0.0
        self._hand = Hand(session)
        self._subscription = node.create_subscription(TaskState, topics.SIM_CELL_TASK_STATE, self._on_state, 10)

    def prepare(self, task: str, seed: int) -> str:
        """Opens the hand, brings the arm out of the way, arranges the objects, brings the arm to the start.

        Returns the instruction.
        """
        hold = self._session.call(self._set_mode, SetMode.Request(mode=SetMode.Request.HOLD))
        if not hold.success:
            raise GraphError(f"the driver refuses HOLD: {hold.message}")
        self._hand.open()
        self._go([])
        arranged = self._session.call(self._arrange, ArrangeScene.Request(task=task, seed=seed))
        if not arranged.success:
            raise GraphError(f"the simulated cell cannot arrange {task}, seed {seed}: {arranged.message}")
        self._go(list(arranged.arm_start))
        self._state = None
        if not self._session.spin_until(lambda: self._of(task, seed), JUDGED_WITHIN):
            raise GraphError(f"{task}, seed {seed} cannot begin: {self._subscription.topic_name} is silent")
        return str(arranged.instruction)

    def judge(self) -> Judgement:
        """How the trial stands. Raises GraphError when the cell has gone silent."""
        if self._state is None or time.monotonic() - self._heard > STALE:
            raise GraphError(f"{self._subscription.topic_name} is silent")
        return judgement(self._state.success, self._state.failed, self._state.detail)

    def _go(self, position: list[float]) -> None:
        """Moves the arm to a position (rad), home for an empty one, once it is at rest."""
        if not self._session.spin_until(self._home.server_is_ready, timeout=5.0):
            raise GraphError(f"nobody offers {self._session.resolved(topics.DRIVER_HOME)}: is the driver running?")
        deadline = time.monotonic() + AT_REST_WITHIN
        while not (result := self._homed(position)).success:
            if time.monotonic() > deadline:
                raise GraphError(f"the arm cannot go to the trial's start: {result.message}")
            self._session.spin_until(lambda: False, timeout=0.3)

    def _homed(self, position: list[float]) -> Any:
        goal = Home.Goal(speed_scale=SPEED, position=position)
        handle = self._session.result(self._home.send_goal_async(goal), self._session.resolved(topics.DRIVER_HOME))
        if not handle.accepted:
            raise GraphError("the driver refuses to home: its log says why")
        future = handle.get_result_async()
        if not self._session.spin_until(future.done, HOMED_WITHIN):
            raise GraphError(f"the arm has not arrived within {HOMED_WITHIN:g} s")
        return future.result().result

    def _of(self, task: str, seed: int) -> bool:
        """Whether the newest judgement is of this trial, at its start."""
        state = self._state
        return state is not None and (state.task, state.seed) == (task, seed) and not (state.success or state.failed)

    def _on_state(self, state: Any) -> None:
        self._state, self._heard = state, time.monotonic()
