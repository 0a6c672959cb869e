"""Recorder node: subscribes to what the cell records, as raw bytes, and offers start and stop of an episode."""

from __future__ import annotations

import importlib
import signal
import struct
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from vga_policy.bags.definitions import UnknownTypeError, definition
from vga_policy.bags.writer import OfferedQos, Topic
from vga_policy.contract.cell import ContractError, load_cell

from vga_msgs.msg import RecorderState
from vga_msgs.srv import StartEpisode, StopEpisode
from vga_teleop.recording.recorder import Recorder, RecordingError, recorded_topics

IMAGE_DEPTH, DEPTH = 30, 1000  # messages DDS keeps for us while we are busy
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class RecorderNode(Node):
    """Parameters: cell (path of the cell file), directory (where episodes go)."""

    def __init__(self) -> None:
        super().__init__("recorder")
        path = self.declare_parameter("cell", "").value
        if not path:
            raise ContractError("parameter 'cell' is missing: give the path of the cell file with -p cell:=PATH")
        cell = load_cell(path)
        directory = Path(self.declare_parameter("directory", "episodes").value)
        self.recorder = Recorder(cell, directory)
        self._missing = recorded_topics(cell)
        self._state = self.create_publisher(RecorderState, "/recorder/state", LATCHED)
        self.create_service(StartEpisode, "/recorder/start", self._start)
        self.create_service(StopEpisode, "/recorder/stop", self._stop)
        self.create_timer(0.5, self._look)
        self._look()

    def close(self) -> None:
        """Finishes the bag of an episode that still runs."""
        if self.recorder.recording:
            self.recorder.stop(None, note="the recorder was stopped while recording")

    def _look(self) -> None:
        """Subscribes to topics that have appeared, checks the recording, publishes the state."""
        for name in list(self._missing):
            if publishers := self.get_publishers_info_by_topic(name):
                self._missing.remove(name)
                self._subscribe(name, publishers)
        if problem := self.recorder.check():
            self.get_logger().error(f"recording ended: {problem}")
        self._publish_state()

    def _subscribe(self, name: str, publishers: list[Any]) -> None:
        """Subscribes with what every publisher offers: a reliable or latched request to others gets nothing."""
        type_name = publishers[0].topic_type
        try:
            described = definition(type_name)
        except UnknownTypeError as error:
            self.get_logger().error(f"{name} is not recorded: {error}")
            return
        profiles = [publisher.qos_profile for publisher in publishers]
        reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in profiles)
        latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in profiles)
        qos = QoSProfile(
            depth=IMAGE_DEPTH if "image" in name else DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        offered = OfferedQos(
            reliability="reliable" if reliable else "best_effort",
            durability="transient_local" if latched else "volatile",
        )
        self.recorder.add_topic(Topic(name, type_name, described.text, described.type_hash, offered))
        package, _, message = type_name.partition("/msg/")
        message_class = getattr(importlib.import_module(f"{package}.msg"), message)
        callback = partial(self._receive, name, described.has_header)
        try:
            lost = SubscriptionEventCallbacks(message_lost=self._count_lost)
            self.create_subscription(message_class, name, callback, qos, event_callbacks=lost, raw=True)
        except UnsupportedEventTypeError:  # this middleware cannot tell
            self.create_subscription(message_class, name, callback, qos, raw=True)

    def _receive(self, name: str, has_header: bool, data: bytes, info: dict[str, int]) -> None:
        received = info["received_timestamp"] or time.time_ns()
        published = header_stamp(data) if has_header else info["source_timestamp"]
        self.recorder.message(name, data, received, published)

    def _count_lost(self, event: Any) -> None:
        self.recorder.lost(event.total_count_change)

    def _start(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        try:
            episode = self.recorder.start(request.task, request.instruction, request.operator_name)
        except RecordingError as error:
            response.message = str(error)
            return response
        response.success, response.message = True, "recording"
        response.episode_id, response.path = episode.id, str(self.recorder.path)
        self.get_logger().info(f"recording {self.recorder.path}")
        self._publish_state()
        return response

    def _stop(self, request: StopEpisode.Request, response: StopEpisode.Response) -> StopEpisode.Response:
        try:
            episode = self.recorder.stop(request.outcome, request.note)
        except RecordingError as error:
            response.message = str(error)
            return response
        response.success, response.path = not episode.problem, str(self.recorder.path)
        response.message = episode.problem or f"{self.recorder.messages} messages in {self.recorder.duration:.1f} s"
        self.get_logger().info(f"recorded {self.recorder.path}: {response.message}")
        self._publish_state()
        return response

    def _publish_state(self) -> None:
        recorder = self.recorder
        state = RecorderState(
            recording=recorder.recording,
            episode_id=recorder.episode.id if recorder.episode else "",
            path=str(recorder.path) if recorder.episode else "",
            duration=recorder.duration,
            messages=recorder.messages,
            messages_lost=recorder.messages_lost,
            problem=recorder.problem,
        )
        state.header.stamp = self.get_clock().now().to_msg()
        self._state.publish(state)


def header_stamp(data: bytes) -> int:
    """Header stamp (ns) of a raw CDR message whose first field is a std_msgs/Header."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return seconds * 10**9 + nanoseconds


def main() -> int:
    """Runs the node until SIGINT or SIGTERM. Returns 2 when its parameters or the cell file are wrong, else 0."""
    stopping = threading.Event()
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, lambda *_: stopping.set())
    # Not rclpy's own handlers: they end ROS at any instant, also in the middle of what spinning does.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = RecorderNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            while not stopping.is_set():
                executor.spin_once(timeout_sec=0.1)
        finally:
            node.close()
            executor.shutdown()
            node.destroy_node()
    except (ContractError, ParameterException) as error:
        print(f"recorder_node: {error}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()
    return 0
