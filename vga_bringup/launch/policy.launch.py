"""The GPU PC: the policy."""

from launch import LaunchDescription
from vga_bringup.graph.launch import describe
from vga_bringup.graph.spec import policy_graph


def generate_launch_description() -> LaunchDescription:
    return describe(policy_graph)
