"""Teleoperation: cameras, Franka driver and leader. `simulated:=true` runs it without hardware."""

from launch import LaunchDescription
from vga_bringup.graph.launch import describe
from vga_bringup.graph.spec import teleop_graph


def generate_launch_description() -> LaunchDescription:
    return describe(teleop_graph)
