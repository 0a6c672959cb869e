"""What a recording session needs: cameras, Franka driver, leader and recorder, all simulated if so wished."""

from launch import LaunchDescription
from vga_bringup.graph.launch import describe
from vga_bringup.graph.spec import record_graph


def generate_launch_description() -> LaunchDescription:
    return describe(record_graph)
