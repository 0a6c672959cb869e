"""Actions that take as long as they take, and no processor's time meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node


class LongActionServer(ActionServer):
    """An action server whose goals are worked on elsewhere.

    begin: called in the executor with every accepted goal, executing by then; it returns at once. When the goal has
    come to its end, `conclude` answers it. An execute callback would have to await that end, and Jazzy's rclpy resumes
    whatever awaits again and again, without a pause: the node's other threads lose Python's lock and processor to it.
    """

    def __init__(
        self, node: Node, action_type: Any, name: str, begin: Callable[[ServerGoalHandle], None], **callbacks: Any
    ) -> None:
        """`callbacks`: ActionServer's, such as cancel_callback."""
        super().__init__(node, action_type, name, begin, **callbacks)
        self._begin = begin

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Any) -> None:  # noqa: ARG002
        """Called by the goal, which is executing from now on."""
        self._begin(goal_handle)

    def conclude(self, goal_handle: ServerGoalHandle, answer: Callable[[ServerGoalHandle], Any]) -> None:
        """Has `answer` called soon, in the executor: it gives the goal its final state and returns the result."""
        super().notify_execute(goal_handle, answer)
