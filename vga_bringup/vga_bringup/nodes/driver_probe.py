"""Prints, as JSON, the state a running franka_driver last published and what it says of the hand; else nothing."""

from __future__ import annotations

import json
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from vga_policy.message_constants import MODE_NAMES
from vga_policy.ros import topics

from vga_msgs.msg import DriverState

PATIENCE = 3.0  # s; discovery took up to 2.5 s where two cores were busy

HAND, CONTROL = (f"{topics.absolute(topics.DRIVER)}: {part}" for part in ("gripper", "control"))  # diagnostics
SETTING = "setting_"  # begins the keys of what the robot was given


def main() -> None:
    """Waits for the latched state and the next diagnostics, and prints them."""
    rclpy.init()
    node = rclpy.create_node("vga_doctor")
    states: list[DriverState] = []
    node.create_subscription(DriverState, topics.DRIVER_STATE, states.append, topics.LATCHED)
    seen: dict[str, DiagnosticStatus] = {}

    def note(array: DiagnosticArray) -> None:
        seen.update({status.name: status for status in array.status})

    node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, note, 10)
    deadline = time.monotonic() + PATIENCE
    while not (states and HAND in seen and CONTROL in seen) and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.shutdown()
    if states:
        state = states[-1]
        fields = {
            "mode": MODE_NAMES.get(state.mode, str(state.mode)),
            "reason": state.hold_reason,
            "connected": state.connected,
            "robot_mode": state.robot_mode,
            "hand": _hand(seen[HAND]) if HAND in seen else None,
            "settings": _refused(seen[CONTROL]) if CONTROL in seen else "",
        }
        print(json.dumps(fields))


def _hand(status: DiagnosticStatus) -> dict[str, object]:
    values = {pair.key: pair.value for pair in status.values}
    obeys, connected = status.level != DiagnosticStatus.ERROR, values.get("connected") == "True"
    return {"obeys": obeys, "connected": connected, "message": status.message}


def _refused(status: DiagnosticStatus) -> str:
    """The settings that the robot did not take, in words; empty when it took all."""
    wrong = ((pair.key.removeprefix(SETTING), pair.value) for pair in status.values if pair.key.startswith(SETTING))
    return "; ".join(f"{name} is {value}" for name, value in wrong if "(cell: " in value)


if __name__ == "__main__":
    main()
