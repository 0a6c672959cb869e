"""Prints the state a running franka_driver last published, as JSON; nothing without one."""

from __future__ import annotations

import json
import time

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile

from vga_msgs.msg import DriverState

PATIENCE = 3.0  # s; discovery took up to 2.5 s where two cores were busy

MODES = {DriverState.HOLD: "HOLD", DriverState.TELEOP: "TELEOP", DriverState.POLICY: "POLICY"}


def main() -> None:
    """Waits for the latched state and prints it."""
    rclpy.init()
    node = rclpy.create_node("vga_doctor")
    states: list[DriverState] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(DriverState, "/franka_driver/state", states.append, latched)
    deadline = time.monotonic() + PATIENCE
    while not states and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.shutdown()
    if states:
        state = states[-1]
        fields = {"mode": MODES.get(state.mode, str(state.mode)), "reason": state.hold_reason}
        print(json.dumps({**fields, "connected": state.connected, "robot_mode": state.robot_mode}))


if __name__ == "__main__":
    main()
