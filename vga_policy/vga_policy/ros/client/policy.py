"""One task of the policy, as others ask for it."""

from __future__ import annotations

import math
import time
from typing import Any

from rclpy.action import ActionClient

from vga_msgs.action import RunTask
from vga_msgs.srv import SetMode
from vga_policy.ros import topics
from vga_policy.ros.client.session import ELSEWHERE, Session
from vga_policy.ros.errors import GraphError

GONE_AFTER = 1.0  # s


class Task:
    """One run of the policy, through `session`. Every request raises GraphError when it is refused."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._set_mode = session.node.create_client(SetMode, topics.DRIVER_SET_MODE)
        self._name = session.resolved(topics.POLICY_RUN_TASK)
        self._run_task = ActionClient(session.node, RunTask, topics.POLICY_RUN_TASK)
        self._seen = -math.inf  # when the policy was there, s
        self._goal: Any = None
        self._result: Any = None
        self.feedback = RunTask.Feedback()  # the newest

    def arm(self) -> None:
        """Lets the driver accept chunks of the next goal."""
        self._mode(SetMode.Request.POLICY, "POLICY")

    def disarm(self) -> None:
        """Back to HOLD."""
        self._mode(SetMode.Request.HOLD, "HOLD")

    def send(self, instruction: str, max_steps: int = 0) -> None:
        """Starts the task; `max_steps` control steps at most, 0: no limit."""
        if not self._session.spin_until(self._run_task.server_is_ready, timeout=5.0):
            raise GraphError(f"nobody offers {self._name}: {ELSEWHERE}")
        goal = RunTask.Goal(instruction=instruction, max_steps=max_steps)
        sent = self._run_task.send_goal_async(goal, feedback_callback=self._on_feedback)
        self._goal = self._session.result(sent, self._name)
        if not self._goal.accepted:
            raise GraphError("the policy refused the task: its log says why")
        self._result = self._goal.get_result_async()

    @property
    def goal_id(self) -> bytes:
        """The 16 bytes that name the task on every topic."""
        return bytes(self._goal.goal_id.uuid)

    @property
    def done(self) -> bool:
        """Whether the task has ended."""
        return bool(self._result.done())

    @property
    def orphaned(self) -> bool:
        """Whether the policy has gone, for GONE_AFTER: the task will never have a result."""
        now = time.monotonic()
        if self._run_task.server_is_ready():
            self._seen = now
        return now - self._seen > GONE_AFTER

    def result(self) -> RunTask.Result:
        """Result of the ended task."""
        return self._session.result(self._result, self._name).result

    def cancel(self) -> RunTask.Result:
        """Ends the task. Raises GraphError when the policy has gone."""
        if self.orphaned:
            raise GraphError("the policy has gone: its log says why; start it again")
        self._session.result(self._goal.cancel_goal_async(), self._name)
        return self.result()

    def _mode(self, mode: int, name: str) -> None:
        response = self._session.call(self._set_mode, SetMode.Request(mode=mode))
        if not response.success:
            raise GraphError(f"the driver refuses {name}: {response.message}")

    def _on_feedback(self, message: Any) -> None:
        self.feedback = message.feedback
