"""What a graph still lacks before a task can run."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, JointState

from vga_msgs.msg import DriverState, PolicyHeartbeat
from vga_policy.cell.schema import Cell
from vga_policy.ros import topics

RECENT = 1.0  # s


class Readiness:
    """Watches the nodes of a cell from outside, through `node`."""

    def __init__(self, node: Node, cell: Cell) -> None:
        self._node = node
        self._subscriptions: list[Subscription] = []
        self._parts = {f"camera {camera.name}": 0.0 for camera in cell.cameras} | {"joint states": 0.0}
        self._driver: DriverState | None = None
        self._heartbeat: PolicyHeartbeat | None = None
        self._heartbeat_at = 0.0
        for camera in cell.cameras:
            topic = topics.camera(camera.name).compressed
            self._watch(CompressedImage, topic, f"camera {camera.name}")
        self._watch(JointState, topics.JOINT_STATES, "joint states")
        self._subscriptions += [
            node.create_subscription(DriverState, topics.DRIVER_STATE, self._on_driver, topics.LATCHED),
            node.create_subscription(PolicyHeartbeat, topics.POLICY_HEARTBEAT, self._on_heartbeat, 10),
        ]

    def missing(self) -> list[str]:
        """What is not there yet, in words; empty when a task can run."""
        now = time.monotonic()
        missing = [part for part, seen in self._parts.items() if now - seen > RECENT]
        if self._driver is None or not self._driver.connected:
            missing.append("robot connection")
        if self._heartbeat is None or now - self._heartbeat_at > RECENT:
            missing.append("policy")
        elif not self._heartbeat.healthy:
            missing.append(f"policy ({self._heartbeat.reason})")
        return missing

    def close(self) -> None:
        """Stops watching, and receiving every image."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _watch(self, kind: type, topic: str, part: str) -> None:
        # Raw: the message's coming is all that matters here.
        callback = partial(self._on_part, part)
        self._subscriptions.append(self._node.create_subscription(kind, topic, callback, topics.SENSOR_DATA, raw=True))

    def _on_part(self, part: str, _message: bytes) -> None:
        self._parts[part] = time.monotonic()

    def _on_driver(self, state: Any) -> None:
        self._driver = state

    def _on_heartbeat(self, heartbeat: Any) -> None:
        self._heartbeat, self._heartbeat_at = heartbeat, time.monotonic()
