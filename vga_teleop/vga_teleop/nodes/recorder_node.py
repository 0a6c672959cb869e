"""Recorder node: receives what the cell records, as raw bytes, and starts, ends and discards episodes on request."""

from __future__ import annotations

import importlib
import struct
import time
from pathlib import Path
from typing import Any, NamedTuple

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import CallbackGroup
from rclpy.executors import Executor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from std_srvs.srv import Trigger
from vga_policy.bags.definitions import UnknownTypeError, definition
from vga_policy.bags.repair import repair_directory
from vga_policy.bags.writer import OfferedQos, Topic
from vga_policy.cell.errors import CellError
from vga_policy.ros import topics
from vga_policy.ros.clocks import every
from vga_policy.ros.node import CellNode, run_node
from vga_policy.ros.parameters import NodeParameter
from vga_policy.units import SECOND

from vga_msgs.msg import DriverState, RecorderState, TaskState
from vga_msgs.srv import StartEpisode, StopEpisode
from vga_teleop.recording.gaps import Gaps
from vga_teleop.recording.recorder import Recorder, RecordingError, recorded_topics

IMAGE_DEPTH, DEPTH = 30, 1000  # messages DDS keeps for us while we are busy
TAKE_EVERY = 0.05  # s; when a message arrived is noted by the middleware, not by us


class TakenByOwner(CallbackGroup):
    """Subscriptions that no executor serves: their messages are taken by whoever made them."""

    def can_execute(self, entity: Any) -> bool:
        """Leaves the subscriptions' events to the executor."""
        return not isinstance(entity, Subscription)

    def beginning_execution(self, entity: Any) -> bool:
        """Nothing excludes anything here."""
        return self.can_execute(entity)

    def ending_execution(self, entity: Any) -> None:
        """Nothing to note."""


class RecordedTopic(NamedTuple):
    """A topic that is being received."""

    name: str
    has_header: bool
    subscription: Subscription
    gaps: Gaps


class RecorderNode(CellNode):
    """Records what the cell file names.

    Messages are taken many at a time, with :meth:`take`: rclpy prepares anew for every message that it waits for, which
    at the rates of a cell costs more than all the rest of recording.
    """

    directory = NodeParameter("episodes", "where episodes go; may be set between episodes", read_only=False)

    def __init__(self) -> None:
        super().__init__(topics.RECORDER)

    def configure(self) -> None:
        """Repairs what a killed recorder left in the directory. Raises CellError when that is a file."""
        super().configure()
        if wrong := _wrong(Path(self.directory)):
            raise CellError(wrong)
        self.recorder = Recorder(self.cell, Path(self.directory))
        self._repair()
        self._missing = recorded_topics(self.cell)
        self._taken_here = TakenByOwner()
        self._topics: list[RecordedTopic] = []
        self._scene = TaskState()
        self._state = self.create_publisher(RecorderState, topics.RECORDER_STATE, topics.LATCHED)

    def activate(self) -> None:
        """Takes messages and requests from now on."""
        self.resources.callback(self._finish)
        self.create_service(StartEpisode, topics.RECORDER_START, self._start)
        self.create_service(StopEpisode, topics.RECORDER_STOP, self._stop)
        self.create_service(Trigger, topics.RECORDER_DISCARD, self._discard)
        self.create_subscription(DriverState, topics.DRIVER_STATE, self._on_driver, topics.LATCHED)
        self.create_subscription(TaskState, topics.SIM_CELL_TASK_STATE, self._on_scene, 1)
        self.add_on_set_parameters_callback(self._on_set)
        every(self, 0.5, self._look)
        self._look()

    def spin(self, executor: Executor) -> None:
        """Serves what is due, and takes what has arrived."""
        time.sleep(TAKE_EVERY)
        executor.spin_once(timeout_sec=0.0)
        self.take()

    def _finish(self) -> None:
        """Finishes the bag of an episode that still runs."""
        if self.recorder.recording:
            self.take()
            try:
                self.recorder.stop(None, note="the recorder was stopped while recording")
            except RecordingError as error:
                self.get_logger().error(str(error))

    def _repair(self) -> None:
        for repair in repair_directory(self.recorder.directory):
            self.get_logger().warning(str(repair))

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        """Another directory from the next episode on."""
        for parameter in parameters:
            if parameter.name != "directory":
                return SetParametersResult(successful=False, reason=f"{parameter.name} is read at start only")
            if self.recorder.recording:
                return SetParametersResult(successful=False, reason="an episode is being recorded")
            if wrong := _wrong(Path(parameter.value)):
                return SetParametersResult(successful=False, reason=wrong)
            self.recorder.directory = Path(parameter.value).absolute()
            self._repair()
        return SetParametersResult(successful=True)

    def _look(self) -> None:
        """Subscribes to topics that have appeared, checks the recording, publishes the state."""
        for name in list(self._missing):
            if publishers := self.get_publishers_info_by_topic(topics.relative(name)):
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
        subscription = self.create_subscription(
            message_class, topics.relative(name), _unused, qos, callback_group=self._taken_here, raw=True
        )
        self._topics.append(
            RecordedTopic(name, described.has_header, subscription, Gaps(subscription.get_publisher_count))
        )

    def take(self) -> None:
        """Hands the recorder what has arrived on every topic."""
        for name, has_header, subscription, gaps in self._topics:
            with subscription.handle:
                while (taken := subscription.handle.take_message(subscription.msg_type, True)) is not None:
                    data, info = taken
                    published = header_stamp(data) if has_header else info["source_timestamp"]
                    self.recorder.message(name, data, info["received_timestamp"] or time.time_ns(), published)
                    if missed := gaps.missed(info["publication_sequence_number"]):
                        self.recorder.lost(missed)

    def _on_driver(self, state: DriverState) -> None:
        self.recorder.demonstrating = state.mode == DriverState.TELEOP

    def _on_scene(self, scene: TaskState) -> None:
        self._scene = scene

    def _start(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        self.take()  # what has arrived until now belongs to before
        try:
            seed = int(self._scene.seed) if self._scene.task == request.task else None
            episode = self.recorder.start(request.task, request.instruction, request.operator_name, seed)
        except RecordingError as error:
            response.message = str(error)
            return response
        response.success, response.message = True, "recording"
        response.episode_id, response.path = episode.id, str(self.recorder.path)
        self.get_logger().info(f"recording {self.recorder.path}")
        self._publish_state()
        return response

    def _stop(self, request: StopEpisode.Request, response: StopEpisode.Response) -> StopEpisode.Response:
        """Answers with a path where the episode has ended and is labeled; success: nothing else is wrong."""
        self.take()
        try:
            episode = self.recorder.stop(request.outcome or None, request.note)
        except RecordingError as error:
            response.message = str(error)
            return response
        response.success, response.path = not episode.problem, str(self.recorder.path)
        response.message = episode.problem or f"{self.recorder.messages} messages in {self.recorder.duration:.1f} s"
        self.get_logger().info(f"recorded {self.recorder.path}: {response.message}")
        self._publish_state()
        return response

    def _discard(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.take()
        try:
            self.recorder.discard()
        except RecordingError as error:
            response.message = str(error)
            return response
        response.success, response.message = True, f"{self.recorder.path} is labeled discarded and kept"
        self.get_logger().info(response.message)
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


def _wrong(directory: Path) -> str:
    """Why episodes cannot go there; empty where they can, or where it can be made."""
    if directory.exists() and not directory.is_dir():
        return f"parameter 'directory' must be a directory, and {directory} is a file"
    return ""


def _unused(_message: bytes) -> None:
    """Subscriptions whose messages we take still want a callback."""


def header_stamp(data: bytes) -> int:
    """Header stamp (ns) of a raw CDR message whose first field is a std_msgs/Header."""
    seconds, rest = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(seconds * SECOND + rest)


def main() -> int:
    """Runs the node until SIGINT or SIGTERM. Returns 2 when its parameters or the cell file are wrong, else 0."""
    return run_node("recorder_node", RecorderNode)
