"""The GPU PC: the policy."""

from launch import LaunchDescription
from vga_bringup.graph import policy_graph
from vga_bringup.graph_launch import describe


def generate_launch_description() -> LaunchDescription:
    return describe(policy_graph)
