"""The graph as nodes and clients see it: every name of :mod:`vga_policy.topics`, and the QoS that belongs to it.

What is not named here has reliable QoS and the depth that its user wants.
"""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data

from vga_policy.topics import *  # noqa: F403

# What a late subscriber wants the last one of: DRIVER_STATE, RECORDER_STATE, ROBOT_DESCRIPTION, TF_STATIC.
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Everything of a camera: best effort, for a late image is worth nothing.
SENSOR_DATA = qos_profile_sensor_data
