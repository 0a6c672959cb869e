"""The robot PC: cameras and Franka driver."""

from launch import LaunchDescription
from vga_bringup.graph.launch import describe
from vga_bringup.graph.spec import lab_graph


def generate_launch_description() -> LaunchDescription:
    return describe(lab_graph)
