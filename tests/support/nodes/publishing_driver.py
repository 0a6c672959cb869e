"""A driver that publishes its state once and its diagnostics again and again: `publishing_driver.py [CELL]`.

With a cell file it is called as the driver is, and tells its parameter.
"""

import sys

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.qos import DurabilityPolicy, QoSProfile

from vga_msgs.msg import DriverState

rclpy.init()
node = rclpy.create_node("franka_driver" if sys.argv[1:] else "driver")
for path in sys.argv[1:]:
    node.declare_parameter("cell", path)
latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
publisher = node.create_publisher(DriverState, "/franka_driver/state", latched)
publisher.publish(DriverState(hold_reason="user stop", connected=True, robot_mode="user stopped"))
control = DiagnosticStatus(name="/franka_driver: control", level=DiagnosticStatus.OK)
settings = {"setting_franky.jerk": "7500 (cell: 4500)", "setting_realtime": "ignore"}
control.values = [KeyValue(key=key, value=value) for key, value in settings.items()]
hand = DiagnosticStatus(name="/franka_driver: gripper", level=DiagnosticStatus.ERROR, message="not homed")
hand.values = [KeyValue(key="connected", value="True")]
diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
node.create_timer(0.2, lambda: diagnostics.publish(DiagnosticArray(status=[control, hand])))
print("published", flush=True)
rclpy.spin(node)
