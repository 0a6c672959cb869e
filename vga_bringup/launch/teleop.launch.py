"""Teleoperation: cameras, Franka driver and leader. `simulated:=true` runs it without hardware."""

from launch import LaunchDescription
from vga_bringup.graph import teleop_graph
from vga_bringup.graph_launch import describe


def generate_launch_description() -> LaunchDescription:
    return describe(teleop_graph)
