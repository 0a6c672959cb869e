"""What command-line tools that talk to the graph share: a short-lived node, and Ctrl-C as an event."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any
from uuid import uuid4

import rclpy
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from unique_identifier_msgs.msg import UUID

from vga_policy.processors import BUSY, LATE, Processors
from vga_policy.ros.environment import REACH, node_environment
from vga_policy.ros.errors import GraphError, RefusedError
from vga_policy.ros.lifetime import heeded

ANSWER_WITHIN = 5.0  # s
AGAIN_AFTER = 1.0  # s
CANCELED_WITHIN = 2.0  # s in which a goal that was given up may still be accepted, and its cancellation be answered
FOUND_WITHIN = 4.0  # s in which the whole graph is found: participants announce themselves every 3 s
ELSEWHERE = f"is it running, on this ROS_DOMAIN_ID, and with {REACH}=SUBNET in every shell if there are two PCs?"


@contextmanager
def stop_request() -> Iterator[threading.Event]:
    """An event that Ctrl-C, `kill` or a closing terminal sets, so that the work at hand can be ended in order."""
    requested = threading.Event()

    def note(_signal: int, _frame: FrameType | None) -> None:
        requested.set()

    former = {number: signal.signal(number, note) for number in heeded()}
    try:
        yield requested
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class Session:
    """A node that sees the graph, served by whoever waits for something. A context manager, which a GraphError leaves
    with what `explain` says of it.

    Signals stay with the caller: a context that Ctrl-C had shut down could cancel nothing.

    processors: of this machine, watched while the session waits.
    """

    def __init__(self, name: str, namespace: str = "") -> None:
        """namespace: of the robot; empty: the root."""
        for key, value in node_environment().items():
            os.environ.setdefault(key, value)
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(name, namespace=namespace, context=self._context)
        self._executor = _executor(self._context)
        self._executor.add_node(self.node)
        self._actions: list[ActionClient] = []
        self.processors = Processors()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GraphError):
            error.args = (self.explain(error),)
        self._executor.shutdown()
        for client in self._actions:
            client.destroy()
        self.node.destroy_node()
        self._context.try_shutdown()

    def spin_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Serves the node until `done()`, asked ten times a second or oftener; False when `timeout` (s) came first."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not done():
            if deadline is not None and time.monotonic() > deadline:
                return False
            self._executor.spin_once(timeout_sec=0.1)
            self.processors.look()
        return True

    def explain(self, trouble: object) -> str:
        """The trouble in words and, on a line of their own, the processors of this machine where they explain it."""
        above = BUSY if isinstance(trouble, RefusedError) else LATE  # what is refused has not come late
        return "\n".join(filter(None, (str(trouble), self.processors.overload(above))))

    def resolved(self, name: str) -> str:
        """The absolute name of what the robot calls `name`."""
        return str(self.node.resolve_topic_name(name))

    def result(self, future: Any, what: str) -> Any:
        """Result of a future. Raises GraphError naming `what` when there is none within ANSWER_WITHIN."""
        if not self.spin_until(future.done, ANSWER_WITHIN):
            raise GraphError(f"{what} does not answer")
        return future.result()

    def action_client(self, kind: Any, name: str) -> ActionClient:
        """A client of an action, which ends with the session.

        The node would not end it, and it would keep the session in the graph until Python collects garbage, in
        whichever thread that is.
        """
        self._actions.append(ActionClient(self.node, kind, name))
        return self._actions[-1]

    def find(self, ready: Callable[[], bool], name: str) -> None:
        """Waits until somebody offers the service or action `name`. Raises GraphError when nobody does."""
        if not self.spin_until(ready, ANSWER_WITHIN):
            raise GraphError(f"nobody offers {name}: {ELSEWHERE}")

    def call(self, client: Any, request: Any, repeatable: bool = False) -> Any:
        """Calls a service. Raises GraphError when nobody answers.

        repeatable: asking twice does what asking once does; it is asked again each second while nobody answers. A node
        that has only just started may hear a question before it knows where to send the answer, which is then lost.
        """
        self.find(client.service_is_ready, client.service_name)
        deadline = time.monotonic() + ANSWER_WITHIN
        futures = [client.call_async(request)]
        wait = AGAIN_AFTER if repeatable else ANSWER_WITHIN
        while not self.spin_until(lambda: any(future.done() for future in futures), wait):
            if time.monotonic() > deadline:
                raise GraphError(f"{client.service_name} does not answer")
            futures.append(client.call_async(request))
        return next(future.result() for future in futures if future.done())

    def act(self, client: ActionClient, name: str, goal: Any, stop: threading.Event, timeout: float) -> Any:
        """Result of the action `name`, done to its end. Raises GraphError when nobody offers it, when it is refused,
        and, having canceled it, when `stop` is set or `timeout` (s) has passed. It is canceled whatever else is raised
        meanwhile, too, and where its acceptance comes too late to be waited for."""
        name = self.resolved(name)
        self.find(client.server_is_ready, name)
        goal_id = UUID(uuid=list(uuid4().bytes))
        asked = client.send_goal_async(goal, goal_uuid=goal_id)
        try:
            handle = self.result(asked, name)
            if not handle.accepted:
                raise GraphError(f"{name} is refused")
            future = handle.get_result_async()
            self.spin_until(lambda: future.done() or stop.is_set(), timeout)
        except BaseException:
            self._call_off(ClientGoalHandle(client, goal_id, None), asked)
            raise
        if not future.done():
            self.result(handle.cancel_goal_async(), name)
            raise GraphError(f"{name}: canceled" if stop.is_set() else f"{name} takes longer than {timeout:g} s")
        return future.result().result

    def _call_off(self, goal: ClientGoalHandle, asked: Any) -> None:
        """Cancels a goal that has been accepted, or that may yet be."""
        if not asked.done():
            goal.cancel_goal_async()  # for a server that reads both at once
            self.spin_until(asked.done, CANCELED_WITHIN)
        if asked.done() and asked.result().accepted:
            self.spin_until(goal.cancel_goal_async().done, CANCELED_WITHIN)


def _executor(context: rclpy.Context) -> Executor:
    try:
        return EventsExecutor(context=context)
    except io.UnsupportedOperation:  # it wants a file to tell of crashes in, which a notebook's stderr is not
        return SingleThreadedExecutor(context=context)
