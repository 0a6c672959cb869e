"""Leaves the newest picture of every camera in a directory, as NAME.jpg, and prints the hand's opening (m) if it comes.

python -m vga_bringup.nodes.picture_probe CELL DIRECTORY [NAMESPACE]
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import rclpy
from sensor_msgs.msg import CompressedImage, JointState
from vga_policy.cell.loading import load_cell
from vga_policy.ros import topics

PATIENCE = 5.0  # s; discovery took up to 2.5 s where two cores were busy


def main() -> None:
    """Waits until each camera has shown something, and the hand was heard."""
    cell = load_cell(sys.argv[1], stored=True)
    out = Path(sys.argv[2])
    rclpy.init()
    node = rclpy.create_node("vga_doctor_pictures", namespace=sys.argv[3] if len(sys.argv) > 3 else "")
    pictures: dict[str, bytes] = {}
    widths: list[float] = []

    def take(name: str, message: CompressedImage) -> None:
        pictures[name] = bytes(message.data)

    def hear(message: JointState) -> None:
        if cell.gripper.joint_name in message.name:  # a finger's way is half of the opening
            widths.append(2 * message.position[list(message.name).index(cell.gripper.joint_name)])

    for camera in cell.cameras:
        topic = topics.camera(camera.name).compressed
        node.create_subscription(CompressedImage, topic, partial(take, camera.name), topics.SENSOR_DATA)
    node.create_subscription(JointState, topics.JOINT_STATES, hear, topics.SENSOR_DATA)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not (widths and len(pictures) == len(cell.cameras)):
        rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.shutdown()
    for name, data in pictures.items():
        (out / f"{name}.jpg").write_bytes(data)
    if widths:
        print(widths[-1])


if __name__ == "__main__":
    main()
