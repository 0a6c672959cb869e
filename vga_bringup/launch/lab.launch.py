"""The robot PC: cameras and Franka driver."""

from launch import LaunchDescription
from vga_bringup.graph import lab_graph
from vga_bringup.graph_launch import describe


def generate_launch_description() -> LaunchDescription:
    return describe(lab_graph)
