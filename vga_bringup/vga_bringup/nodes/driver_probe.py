"""Prints, as JSON, what a running franka_driver last published, its cell file, and how the policy does; else nothing.

python -m vga_bringup.nodes.driver_probe [NAMESPACE]
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import GetParameters
from vga_policy.message_constants import MODE_NAMES
from vga_policy.ros import topics

from vga_msgs.msg import DriverState, PolicyHeartbeat

PATIENCE = 3.0  # s; discovery took up to 2.5 s where two cores were busy

SETTING = "setting_"  # begins the keys of what the robot was given


def main() -> None:
    """Waits for the latched state, the next diagnostics and the driver's cell file, and prints them."""
    rclpy.init()
    node = rclpy.create_node("vga_doctor", namespace=sys.argv[1] if len(sys.argv) > 1 else "")
    states: list[DriverState] = []
    beats: list[PolicyHeartbeat] = []
    seen: dict[str, DiagnosticStatus] = {}

    def note(array: DiagnosticArray) -> None:
        seen.update({status.name: status for status in array.status})

    node.create_subscription(DriverState, topics.DRIVER_STATE, states.append, topics.LATCHED)
    node.create_subscription(PolicyHeartbeat, topics.POLICY_HEARTBEAT, beats.append, 10)
    node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, note, 10)
    parameters = node.create_client(GetParameters, topics.DRIVER_GET_PARAMETERS)
    driver = node.resolve_topic_name(topics.DRIVER)
    hand, control = f"{driver}: gripper", f"{driver}: control"
    asked: Any = None
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if asked is None and parameters.service_is_ready():
            asked = parameters.call_async(GetParameters.Request(names=["cell"]))
        if states and hand in seen and control in seen and (asked is None or asked.done()):
            break
        rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.shutdown()
    if states:
        state = states[-1]
        fields: dict[str, Any] = {
            "mode": MODE_NAMES.get(state.mode, str(state.mode)),
            "reason": state.hold_reason,
            "connected": state.connected,
            "robot_mode": state.robot_mode,
            "hand": _hand(seen[hand]) if hand in seen else None,
            "settings": _refused(seen[control]) if control in seen else "",
        }
        if asked is not None and asked.done():
            fields["cell"] = asked.result().values[0].string_value
        if beats:
            fields["policy"] = {"healthy": beats[-1].healthy, "reason": beats[-1].reason}
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
