"""`vga run`: one task, from arming the driver to its end."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any

from rclpy.action import ActionClient

from vga_bringup.graph import GraphError
from vga_bringup.session import ELSEWHERE, Session, stop_request
from vga_msgs.action import RunTask
from vga_msgs.srv import SetMode

EXIT_CODES = {RunTask.Result.STEP_LIMIT: 0, RunTask.Result.CANCELED: 130, RunTask.Result.ABORTED: 1}
GONE_AFTER = 1.0  # s


def run(args: argparse.Namespace) -> int:
    """Runs one task: 0 at its step limit, 130 when Ctrl-C cancelled it, 1 when it was refused or aborted."""
    with stop_request() as stop, Session("vga_run") as session:
        task = Task(session)
        try:
            try:
                task.arm()
                if stop.is_set():
                    return EXIT_CODES[RunTask.Result.CANCELED]
                task.send(args.instruction, args.max_steps)
                print(f"running {args.instruction!r}; Ctrl-C cancels", flush=True)
                session.spin_until(lambda: task.done or task.orphaned or stop.is_set())
                result = task.result() if task.done else task.cancel()
            finally:  # also where the driver has armed itself too late for an answer
                task.disarm()
        except GraphError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{result.message or 'ended'} ({result.steps} steps, {result.chunks} chunks)")
    return EXIT_CODES[result.outcome]


class Task:
    """One run of the policy, through `session`. Every request raises GraphError when it is refused."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._set_mode = session.node.create_client(SetMode, "/franka_driver/set_mode")
        self._run_task = ActionClient(session.node, RunTask, "/policy/run_task")
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
            raise GraphError(f"nobody offers /policy/run_task: {ELSEWHERE}")
        goal = RunTask.Goal(instruction=instruction, max_steps=max_steps)
        sent = self._run_task.send_goal_async(goal, feedback_callback=self._on_feedback)
        self._goal = self._session.result(sent, "/policy/run_task")
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
        return self._session.result(self._result, "/policy/run_task").result

    def cancel(self) -> RunTask.Result:
        """Ends the task. Raises GraphError when the policy has gone."""
        if self.orphaned:
            raise GraphError("the policy has gone: its log says why; start it again")
        self._session.result(self._goal.cancel_goal_async(), "/policy/run_task")
        return self.result()

    def _mode(self, mode: int, name: str) -> None:
        response = self._session.call(self._set_mode, SetMode.Request(mode=mode))
        if not response.success:
            raise GraphError(f"the driver refuses {name}: {response.message}")

    def _on_feedback(self, message: Any) -> None:
        self.feedback = message.feedback
