"""What every node of the project is made of, and how its process runs."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from typing import Any, NoReturn

import numpy.ma  # noqa: F401  # else the first np.percentile imports it: 0.3 s without a heartbeat, in the first task
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.action.server import ServerGoalHandle
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Header

from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.ros import topics
from vga_policy.ros.clocks import every
from vga_policy.ros.diagnostics import diagnostic
from vga_policy.ros.errors import FAILED, REFUSED
from vga_policy.ros.lifetime import Stop, start_ros
from vga_policy.ros.long_action import LongActionServer
from vga_policy.ros.parameters import NodeParameter, declare_parameters
from vga_policy.ros.publish_queue import PublishQueue

SPIN_AT_MOST = 0.1  # s between two looks whether a signal has come
DIAGNOSTICS_PERIOD = 1.0  # s


class NodeError(Exception):
    """Ends a running node. Its process says so in one line on stderr and ends with `code`."""

    code = FAILED


class BaseNode(Node):
    """A node that is set up, checked, started and closed in separate steps, which :func:`run_node` takes in order.

    The constructor declares the parameters, NodeParameters of the class. `configure` checks them and makes what the
    node publishes; what it raises is about what the node was given. `activate` starts all that acts by itself or upon
    others: threads, connections, timers, subscriptions, services. `close` lets go of both.
    These are the steps of a lifecycle node: to turn all nodes into such, derive this class from rclpy's LifecycleNode
    and have on_configure, on_activate and on_cleanup call them. The nodes stay as they are.

    Names are relative to the node (~/...) or to its namespace, which holds one robot with all that belongs to it.

    resources: an ExitStack; whatever `configure` and `activate` open or start is entered here, there and then.
    """

    def __init__(self, name: str) -> None:
        """Raises rclpy's ParameterException when the node was given what a parameter cannot be."""
        super().__init__(name)
        self.resources = ExitStack()
        self._actions: list[LongActionServer] = []
        self._queue: PublishQueue | None = None
        declare_parameters(self)

    def configure(self) -> None:
        """Checks parameters and what they name, and makes publishers. Nothing acts yet."""

    def activate(self) -> None:
        """Starts threads, connections, timers, subscriptions and services. Raises NodeError when one cannot be."""

    @property
    def exit_code(self) -> int | None:
        """What the process ends with, by itself; None while there is something to do."""
        return None

    def spin(self, executor: Executor) -> None:
        """One portion of the node's work, of about 0.1 s at most. Raises NodeError when there is to be no other."""
        executor.spin_once(timeout_sec=SPIN_AT_MOST)

    def close(self) -> None:
        """Lets go of all resources, the latest first."""
        self.resources.close()

    def destroy_node(self) -> None:
        """Takes the node out of the graph, with its memory shared with others."""
        for server in self._actions:
            server.destroy()
        super().destroy_node()

    def create_long_action(
        self, action_type: Any, name: str, begin: Callable[[ServerGoalHandle], None], **callbacks: Any
    ) -> LongActionServer:
        """An action whose goals are worked on elsewhere; see LongActionServer."""
        self._actions.append(LongActionServer(self, action_type, name, begin, **callbacks))
        return self._actions[-1]

    def start_diagnostics(self) -> None:
        """Has `diagnostics` published from now on, once a second."""
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        every(self, DIAGNOSTICS_PERIOD, self._diagnose)

    def diagnostics(self) -> list[DiagnosticStatus]:
        """How the node does, part by part."""
        return []

    def part(
        self, name: str, hardware_id: str, level: bytes, message: str, values: Mapping[str, object]
    ) -> DiagnosticStatus:
        """How one part of this node does."""
        return diagnostic(f"{self.get_fully_qualified_name()}: {name}", hardware_id, level, message, values)

    def start_publish_queue(self) -> None:
        """From now on, until the node is closed, `send` waits for nobody: a thread of its own publishes."""
        self._queue = PublishQueue()
        self.resources.callback(self._queue.close)

    def send(self, publish: Callable[[Any], None], message: Any) -> None:
        """Calls `publish(message)`, by the publish queue if the node has one."""
        if self._queue is None:
            publish(message)
        else:
            self._queue.put(publish, message)

    @property
    def messages_lost(self) -> int:
        """How many messages the publish queue has lost."""
        return 0 if self._queue is None else self._queue.lost

    def _diagnose(self) -> None:
        header = Header(stamp=self.get_clock().now().to_msg())
        self.send(self._diagnostics.publish, DiagnosticArray(header=header, status=self.diagnostics()))


class CellNode(BaseNode):
    """A node that belongs to a cell.

    cell: read from its file once, when configured, which raises CellError when there is none or it is wrong.
    """

    cell_path = NodeParameter("", "path of the cell file", name="cell")
    frame_prefix = NodeParameter("", "what the names of this robot's frames begin with, such as left/")
    cell: Cell

    def configure(self) -> None:
        """Reads the cell file."""
        if not self.cell_path:
            raise CellError("parameter 'cell' is missing: give the path of the cell file with -p cell:=PATH")
        self.cell = load_cell(self.cell_path)


def run_node(
    name: str,
    factory: Callable[[], BaseNode],
    args: list[str] | None = None,
    *,
    executor: Callable[[], Executor] = SingleThreadedExecutor,
    refusals: tuple[type[Exception], ...] = (),
    interruptible: bool = False,
    farewell: float = 0.0,
    leave_within: float | None = None,
) -> int:
    """The whole life of a node's process: its `main`. For the main thread.

    Ends at a signal, at a NodeError, or when the node has nothing more to do. Returns the exit code: 0 after a
    signal; 2 when the node refuses what it was given, with "<name>: <why>" on stderr; the code of a NodeError, with the
    same; else the node's own. Any other exception passes through, after the node was closed.

    name: of the executable. refusals: what `configure` raises, besides CellError and ParameterException.
    interruptible: whether a signal may end `configure` anywhere, for one that loads for seconds and changes nothing.
    farewell: seconds that ROS is served once the node has closed, for its last words.
    leave_within: for a node that has to be served while it closes, and then to end in so many seconds whatever hangs:
    ROS is spun in a thread of its own, and a callback that fails ends the node with 1. Does not return then.
    """
    stop = start_ros(args)
    with ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        try:
            with stop.interrupting() if interruptible else nullcontext():
                node = factory()
                stack.callback(node.destroy_node)
                stack.callback(node.close)
                node.configure()
        except KeyboardInterrupt:
            return 0
        except (CellError, ParameterException, *refusals) as error:
            return _say(name, error, REFUSED)
        if stop:
            return 0
        serving = executor()
        stack.callback(serving.shutdown)
        try:
            node.activate()
            serving.add_node(node)
            if leave_within is not None:
                _serve_apart(node, serving, stop, stack.pop_all(), leave_within)
            code = _serve(node, serving, stop)
        except NodeError as error:
            return _say(name, error, error.code)
        finally:
            node.close()
        _serve_on(serving, farewell)
        return code


def _say(name: str, error: Exception, code: int) -> int:
    print(f"{name}: {error}", file=sys.stderr)
    return code


def _serve(node: BaseNode, executor: Executor, stop: Stop) -> int:
    while not stop and node.exit_code is None:
        node.spin(executor)
    return node.exit_code or 0


def _serve_on(executor: Executor, duration: float) -> None:
    end = time.monotonic() + duration
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=duration)


def _serve_apart(node: BaseNode, executor: Executor, stop: Stop, ending: ExitStack, leave_within: float) -> NoReturn:
    """Serves ROS in a thread of its own; this one waits for the end, and lets go of `ending` after closing the node."""
    left, failed = threading.Event(), threading.Event()

    def spin() -> None:  # in portions: EventsExecutor may not be shut down by another thread while it spins
        try:
            while not left.is_set():
                node.spin(executor)
        except Exception:  # nobody serves the node any more: it ends now
            node.get_logger().fatal(f"a callback failed, the node ends: {traceback.format_exc()}")
            failed.set()
            stop.ask()

    spinning = threading.Thread(target=spin, name="ros", daemon=True)
    spinning.start()
    stop.wait()

    def leave() -> None:
        node.close()
        left.set()
        spinning.join()
        ending.close()

    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    leaving.join(timeout=leave_within)
    sys.stderr.flush()
    # Whatever still waits in C++, for a peer that hangs or was killed, ends here.
    os._exit(FAILED if failed.is_set() else 0)
