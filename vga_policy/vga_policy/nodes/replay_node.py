"""Replays recorded bags with their original stamps and publishes /clock, for nodes that run with use_sim_time.

Offers ~/pause (std_srvs/SetBool). A robot's driver refuses to move while a replay publishes /clock.
"""

from __future__ import annotations

import importlib
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.executors import Executor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMessage
from std_srvs.srv import SetBool

from vga_policy.bags.playback import Playback
from vga_policy.bags.qos import offered_qos
from vga_policy.bags.reader import BagError, BagTopic
from vga_policy.bags.writer import OfferedQos
from vga_policy.episodes.listing import DatasetError, find_episodes
from vga_policy.ros import topics as names
from vga_policy.ros.clocks import every
from vga_policy.ros.messages import time_message
from vga_policy.ros.node import REFUSED, BaseNode, NodeError, run_node
from vga_policy.ros.parameters import NodeParameter
from vga_policy.units import SECOND

PERIOD = 0.005  # s between two looks at what is due
LOOK_PERIOD = 0.5  # s between two looks whether a live node publishes the same
SHOW_PERIOD = 0.2  # s between two words on how far it is
LEAD_IN = 1.0  # s the clock stands at the first bag's start, so that subscribers find the publishers
FAREWELL = Duration(seconds=1)  # longest wait for the last messages of a topic to arrive


class LivePublisherError(NodeError):
    """Somebody else publishes what is replayed."""

    code = REFUSED


class ReplayNode(BaseNode):
    """Wires a playback to publishers.

    show: told again and again how far the replay is. live: topics of the replay that somebody else publishes as well.
    """

    bags = NodeParameter[list[str]]([], "paths of bags or of directories of bags")
    topics = NodeParameter[list[str]]([], "what to replay; empty: everything recorded except what a policy had said")
    rate = NodeParameter(1.0, "speed")
    loop = NodeParameter(False, "whether to start over at the end")
    start_paused = NodeParameter(False, "whether to wait for the space bar, or for ~/pause")

    def __init__(self, show: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(names.REPLAY)
        self._show = show

    def configure(self) -> None:
        """Opens the first bag. Raises BagError, DatasetError or ValueError when there is nothing to replay."""
        topics = self.topics
        self.playback = Playback(
            _bags(self.bags),
            rate=self.rate,
            loop=self.loop,
            paused=self.start_paused,
            wanted=(lambda name: name in topics) if topics else _is_recorded_input,
        )
        self.resources.callback(self.playback.close)
        self._clock_publisher = self.create_publisher(ClockMessage, names.CLOCK, 10)
        self._outlets = {}
        for topic in self.playback.topics.values():
            if (publisher := self._publisher(topic)) is not None:
                self._outlets[topic.name] = publisher
        self.live: list[str] = []
        self._announced: Path | None = None

    def activate(self) -> None:
        """Starts the replay."""
        self.resources.callback(self._see_off)
        self._keys = self.resources.enter_context(_keys())
        self._last = time.monotonic() + LEAD_IN
        self.create_service(SetBool, names.REPLAY_PAUSE, self._on_pause)
        every(self, PERIOD, self._advance)
        every(self, LOOK_PERIOD, self._look_around)
        every(self, SHOW_PERIOD, self._tell)

    @property
    def exit_code(self) -> int | None:
        """0 when the last bag has ended."""
        return 0 if self.playback.finished else None

    def spin(self, executor: Executor) -> None:
        """Replays on, and looks at the keys."""
        super().spin(executor)
        if " " in self._keys():
            self.toggle_pause()
        if self.live:
            raise LivePublisherError(f"{', '.join(self.live)}: published by a live node; use another ROS_DOMAIN_ID")

    def _see_off(self) -> None:
        """Tells how far it came, and waits until the last messages have arrived."""
        self._tell()
        for outlet in (self._clock_publisher, *self._outlets.values()):
            outlet.wait_for_all_acked(FAREWELL)

    def toggle_pause(self) -> None:
        """Stops the replay's clock, or lets it go on."""
        self._pause(not self.playback.paused)

    def _look_around(self) -> None:
        self.live = [name for name in self._outlets if self.count_publishers(names.relative(name)) > 1]

    def _tell(self) -> None:
        (number, of), (passed, length) = self.playback.count, self.playback.passed
        state = "paused" if self.playback.paused else f"{self.playback.rate:g} x"
        self._show(f"{self.playback.path.name} ({number} of {of}): {passed:.1f} of {length:.1f} s, {state}")

    def _advance(self) -> None:
        now = time.monotonic()
        passed, self._last = max(0.0, now - self._last), max(self._last, now)
        if self._announced != self.playback.path:
            self._announced = self.playback.path
            self.get_logger().info(f"replaying {self._announced}")
        replayed, due = self.playback.advance(passed)
        # First the clock: to whoever reads both, no message comes from the future.
        self._clock_publisher.publish(ClockMessage(clock=time_message(replayed)))
        for message in due:
            if (publisher := self._outlets.get(message.topic)) is not None:
                publisher.publish(message.data)

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._pause(request.data)
        response.success = True
        response.message = f"{'paused' if request.data else 'running'} at {self.playback.now_ns / SECOND:.3f} s"
        return response

    def _pause(self, paused: bool) -> None:
        self.playback.paused = paused
        self.get_logger().info("paused" if paused else "running")

    def _publisher(self, topic: BagTopic) -> rclpy.publisher.Publisher | None:
        package, _, name = topic.type.partition("/msg/")
        try:
            message_class = getattr(importlib.import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError, TypeError, ValueError):  # the latter two: no name of a type
            self.get_logger().warning(f"{topic.name} is not replayed: type {topic.type!r} is not installed")
            return None
        return self.create_publisher(message_class, names.relative(topic.name), _profile(offered_qos(*topic.qos)))


def _profile(offered: OfferedQos) -> QoSProfile:
    best_effort, latched = offered.reliability == "best_effort", offered.durability == "transient_local"
    return QoSProfile(
        depth=offered.depth,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def main(args: list[str] | None = None, show: Callable[[str], None] = lambda _: None) -> int:
    """Runs the node until the last bag ends, SIGINT or SIGTERM. Returns 0, or 2 when it cannot replay.

    show: told again and again how far it is.
    """
    return run_node("replay", partial(ReplayNode, show), args, refusals=(BagError, DatasetError, ValueError))


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """A function that gives the keys pressed since it was last called; none where there is no terminal."""
    if not sys.stdin.isatty():
        yield lambda: ""
        return
    descriptor = sys.stdin.fileno()
    former = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield lambda: sys.stdin.read(1) if select.select([descriptor], [], [], 0)[0] else ""
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, former)


def _bags(paths: list[str]) -> list[Path]:
    """The bags named, and those in the directories named."""
    found: list[Path] = []
    for path in map(Path, paths):
        found += find_episodes([path]) if path.is_dir() else [path]
    return found


def _is_recorded_input(topic: str) -> bool:
    """Whether a topic is replayed by default: a policy that runs now speaks for itself."""
    return topic not in names.OF_ROS and not topic.startswith(f"{names.absolute(names.POLICY)}/")
