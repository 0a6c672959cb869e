"""What a recording session needs: cameras, Franka driver, leader and recorder, all simulated if so wished."""

from launch import LaunchDescription
from vga_bringup.graph import record_graph
from vga_bringup.graph_launch import describe


def generate_launch_description() -> LaunchDescription:
    return describe(record_graph)
