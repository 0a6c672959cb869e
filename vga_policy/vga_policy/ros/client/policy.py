"""The policy, as others ask it to do a task."""

from __future__ import annotations

import math
import time
from functools import cached_property
from threading import Event
from typing import Any

from action_msgs.msg import GoalInfo
from action_msgs.srv import CancelGoal
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client

from vga_msgs.action import RunTask
from vga_policy.ros import topics
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

GONE_AFTER = 1.0  # s


class PolicyClient:
    """One task at a time, through `session`. Every request raises GraphError when it is refused, or no task is known.

    The arm moves only where the driver has been set to POLICY before: `DriverClient.policy`.

    feedback: the newest of the task: `steps`, `chunk_sequence`, and `waiting_for`, empty while the policy acts.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._run_task = session.action_client(RunTask, topics.POLICY_RUN_TASK)
        self._name = session.resolved(topics.POLICY_RUN_TASK)
        self._seen = -math.inf  # when the policy was there, s
        self._task: tuple[Any, Any] | None = None  # its goal, and its result to come
        self.feedback = RunTask.Feedback()

    def run(self, instruction: str, max_steps: int = 0, stop: Event | None = None) -> RunTask.Result:
        """Does a task and waits for its end: `start` and `finish`."""
        self.start(instruction, max_steps)
        return self.finish(stop)

    def start(self, instruction: str, max_steps: int = 0) -> None:
        """Starts the task and does not wait; `max_steps` control steps at most, 0: no limit."""
        self._session.find(self._run_task.server_is_ready, self._name)
        task = RunTask.Goal(instruction=instruction, max_steps=max_steps)
        sent = self._run_task.send_goal_async(task, feedback_callback=self._on_feedback)
        goal = self._session.result(sent, self._name)
        if not goal.accepted:
            raise GraphError("the policy refused the task: its log says why")
        self.feedback = RunTask.Feedback()
        self._task = goal, goal.get_result_async()

    def finish(self, stop: Event | None = None) -> RunTask.Result:
        """Waits for the task's end, and cancels it when `stop` is set. Raises GraphError when the policy has gone."""
        self._session.spin_until(lambda: self.done or self.orphaned or (stop is not None and stop.is_set()))
        return self.cancel()

    @property
    def goal_id(self) -> bytes:
        """The 16 bytes that name the task on every topic."""
        return bytes(self._started[0].goal_id.uuid)

    @property
    def done(self) -> bool:
        """Whether the task has ended."""
        return bool(self._started[1].done())

    @property
    def orphaned(self) -> bool:
        """Whether the policy has gone, for GONE_AFTER: the task will never have a result."""
        now = time.monotonic()
        if self._run_task.server_is_ready():
            self._seen = now
        return now - self._seen > GONE_AFTER

    def result(self) -> RunTask.Result:
        """Result of the ended task: `outcome` (a TaskOutcome's value), `message`, `steps`, `chunks`."""
        return self._session.result(self._started[1], self._name).result

    def cancel(self) -> RunTask.Result:
        """Ends the task if it still runs; its result. Raises GraphError when the policy has gone."""
        if self.done:
            return self.result()
        if self.orphaned:
            raise GraphError("the policy has gone: its log says why; start it again")
        self._session.result(self._started[0].cancel_goal_async(), self._name)
        return self.result()

    def cancel_whosever(self) -> bool:
        """Ends the task that runs, whoever started it; whether there was one."""
        request = CancelGoal.Request(goal_info=GoalInfo())  # neither id nor time: every goal
        return bool(self._session.call(self._cancel, request, repeatable=True).goals_canceling)

    def views(self) -> tuple[str, ...]:
        """The cameras whose images it takes, in slot order; it is asked. Empty: those of its cell."""
        (value,) = self._session.call(self._get_parameters, GetParameters.Request(names=["views"])).values
        return tuple(value.string_array_value)

    @property
    def offered(self) -> bool:
        """Whether there is a policy."""
        return bool(self._run_task.server_is_ready())

    @cached_property
    def _cancel(self) -> Client:
        return self._session.node.create_client(CancelGoal, f"{topics.POLICY_RUN_TASK}/_action/cancel_goal")

    @cached_property
    def _get_parameters(self) -> Client:
        return self._session.node.create_client(GetParameters, topics.POLICY_GET_PARAMETERS)

    @property
    def _started(self) -> tuple[Any, Any]:
        if self._task is None:
            raise GraphError("no task has been started")
        return self._task

    def _on_feedback(self, message: Any) -> None:
        self.feedback = message.feedback
