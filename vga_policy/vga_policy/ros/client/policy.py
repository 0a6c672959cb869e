"""The policy, as others ask it to do a task."""

from __future__ import annotations

import math
import time
from threading import Event
from typing import Any

from rclpy.action import ActionClient

from vga_msgs.action import RunTask
from vga_policy.ros import topics
from vga_policy.ros.client.session import ANSWER_WITHIN, ELSEWHERE, Session
from vga_policy.ros.errors import GraphError

GONE_AFTER = 1.0  # s


class PolicyClient:
    """One task at a time, through `session`. Every request raises GraphError when it is refused.

    The arm moves only where the driver has been set to POLICY before: `DriverClient.policy`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._run_task = ActionClient(session.node, RunTask, topics.POLICY_RUN_TASK)
        self._name = session.resolved(topics.POLICY_RUN_TASK)
        self._seen = -math.inf  # when the policy was there, s
        self._goal: Any = None
        self._result: Any = None
        self.feedback = RunTask.Feedback()  # the newest: steps, chunk_sequence, waiting_for

    def run(self, instruction: str, max_steps: int = 0, stop: Event | None = None) -> RunTask.Result:
        """Does a task and waits for its end: `start` and `finish`."""
        self.start(instruction, max_steps)
        return self.finish(stop)

    def start(self, instruction: str, max_steps: int = 0) -> None:
        """Starts the task and does not wait; `max_steps` control steps at most, 0: no limit."""
        if not self._session.spin_until(self._run_task.server_is_ready, ANSWER_WITHIN):
            raise GraphError(f"nobody offers {self._name}: {ELSEWHERE}")
        goal = RunTask.Goal(instruction=instruction, max_steps=max_steps)
        sent = self._run_task.send_goal_async(goal, feedback_callback=self._on_feedback)
        self._goal = self._session.result(sent, self._name)
        if not self._goal.accepted:
            raise GraphError("the policy refused the task: its log says why")
        self.feedback = RunTask.Feedback()
        self._result = self._goal.get_result_async()

    def finish(self, stop: Event | None = None) -> RunTask.Result:
        """Waits for the task's end, and cancels it when `stop` is set. Raises GraphError when the policy has gone."""
        self._session.spin_until(lambda: self.done or self.orphaned or (stop is not None and stop.is_set()))
        return self.cancel()

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
        """Result of the ended task: `outcome` (one of RunTask.Result's constants), `message`, `steps`, `chunks`."""
        return self._session.result(self._result, self._name).result

    def cancel(self) -> RunTask.Result:
        """Ends the task if it still runs; its result. Raises GraphError when the policy has gone."""
        if self.done:
            return self.result()
        if self.orphaned:
            raise GraphError("the policy has gone: its log says why; start it again")
        self._session.result(self._goal.cancel_goal_async(), self._name)
        return self.result()

    def _on_feedback(self, message: Any) -> None:
        self.feedback = message.feedback
