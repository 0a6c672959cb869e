"""The whole stack on one machine, against the simulated cell."""

from launch import LaunchDescription
from vga_bringup.graph import sim_graph
from vga_bringup.graph_launch import describe


def generate_launch_description() -> LaunchDescription:
    return describe(sim_graph)
