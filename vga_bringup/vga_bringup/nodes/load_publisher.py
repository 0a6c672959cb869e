"""Publishes what a busy cell publishes, with images made beforehand: the load of `vga bench record`.

    python -m vga_bringup.nodes.load_publisher --ros-args -p cell:=CELL_FILE -p stamps:=STAMPS_FILE

Ends at SIGINT or SIGTERM, and then writes every header stamp that it published, by topic, to STAMPS_FILE (.npz).
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from vga_policy.bags import cdr
from vga_policy.cell.errors import CellError
from vga_policy.cell.schema import Camera, Cell
from vga_policy.ros import topics
from vga_policy.ros.node import CellNode, run_node
from vga_policy.ros.parameters import NodeParameter
from vga_policy.units import sec_and_nanosec

JOINT_STATES_HZ = 1000.0
COMMANDS_HZ = 100.0
IMAGES = 8  # different ones a camera
STAMP_AT = 4  # a CDR message's header stamp follows its 4 bytes of encapsulation


class LoadPublisher:
    """Publishes the same messages again and again, each time with a new stamp."""

    def __init__(self, node: Node, topic: str, messages: Sequence[Any], rate_hz: float, qos: QoSProfile | int) -> None:
        package, _, name = messages[0].__msgtype__.partition("/msg/")
        self.topic = topic
        self.stamps: list[int] = []
        self.period = 1.0 / rate_hz
        self.due = time.monotonic()
        self._raw = [bytearray(cdr.encode(message)) for message in messages]
        self._publisher = node.create_publisher(getattr(import_module(f"{package}.msg"), name), topic, qos)

    def publish(self) -> None:
        """Publishes the next message, stamped now."""
        data = self._raw[len(self.stamps) % len(self._raw)]
        stamp = time.time_ns()
        struct.pack_into("<iI", data, STAMP_AT, *sec_and_nanosec(stamp))
        self._publisher.publish(bytes(data))
        self.stamps.append(stamp)
        self.due += self.period


def load_publishers(node: Node, cell: Cell) -> list[LoadPublisher]:
    """What the cell's nodes publish, with the quality of service that they offer."""
    joints = cell.joint_state_names
    state = cdr.new("sensor_msgs/msg/JointState", name=joints, position=[0.1] * 8, velocity=[0.1] * 8, effort=[0.1] * 8)
    reference = cdr.new("vga_msgs/msg/RobotReference", joint_names=cell.arm.joint_names)
    gripper = cdr.new("vga_msgs/msg/GripperState")
    found = [
        LoadPublisher(node, topics.JOINT_STATES, [state], JOINT_STATES_HZ, 10),
        LoadPublisher(node, topics.GELLO_JOINT_STATES, [state], COMMANDS_HZ, 10),
        LoadPublisher(node, topics.DRIVER_REFERENCE, [reference], COMMANDS_HZ, 10),
        LoadPublisher(node, topics.DRIVER_GRIPPER_STATE, [gripper], 30.0, 10),
    ]
    for camera in cell.cameras:
        names, fps, color = topics.camera(camera.name), float(camera.color.fps), camera.color
        jpegs = [jpeg(camera, number) for number in range(IMAGES)]
        images = [cdr.new("sensor_msgs/msg/CompressedImage", format="jpeg", data=data) for data in jpegs]
        info = cdr.new("sensor_msgs/msg/CameraInfo", width=color.width, height=color.height, d=[0.0] * 5)
        found.append(LoadPublisher(node, names.compressed, images, fps, topics.SENSOR_DATA))
        found.append(LoadPublisher(node, names.info, [info], fps, topics.SENSOR_DATA))
    return found


def jpeg(camera: Camera, number: int) -> bytes:
    """An image about as hard to compress as one of a table with objects on it."""
    rng = np.random.default_rng(number)
    height, width = camera.color.height, camera.color.width
    coarse: NDArray[Any] = rng.integers(40, 216, (height // 16, width // 16, 3)).repeat(16, 0).repeat(16, 1)
    image = np.clip(coarse + rng.normal(0, 4, (*coarse.shape[:2], 1)), 0, 255).astype(np.uint8)
    return bytes(simplejpeg.encode_jpeg(image, quality=camera.jpeg_quality, colorsubsampling="420"))


class LoadNode(CellNode):
    """Publishes a busy cell's topics on time."""

    stamps = NodeParameter("", "file (.npz) that every published header stamp is written to in the end")

    def __init__(self) -> None:
        super().__init__("busy_cell")

    def configure(self) -> None:
        """Makes the messages. Raises CellError when there is no file for the stamps."""
        super().configure()
        if not self.stamps:
            raise CellError("parameter 'stamps' is missing: give the path of a file with -p stamps:=PATH")
        self._load = load_publishers(self, self.cell)

    def activate(self) -> None:
        """Has the stamps written in the end."""
        self.resources.callback(self._write)

    def spin(self, executor: Executor) -> None:  # noqa: ARG002 - nothing calls this node back
        """Publishes what is due, and sleeps until more is."""
        now = time.monotonic()
        for publisher in self._load:
            if publisher.due <= now:
                publisher.publish()
        time.sleep(max(0.0, min(publisher.due for publisher in self._load) - time.monotonic()))

    def _write(self) -> None:
        stamps: dict[str, Any] = {
            topics.absolute(publisher.topic): np.array(publisher.stamps) for publisher in self._load
        }
        np.savez(Path(self.stamps), **stamps)


def main(args: list[str] | None = None) -> int:
    """Publishes until SIGINT or SIGTERM. Returns 2 when parameters or cell file are wrong, else 0."""
    return run_node("load_publisher", LoadNode, args)


if __name__ == "__main__":
    sys.exit(main())
