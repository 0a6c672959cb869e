"""The whole stack on one machine, against the simulated cell."""

from launch import LaunchDescription
from vga_bringup.graph.launch import describe
from vga_bringup.graph.spec import sim_graph


def generate_launch_description() -> LaunchDescription:
    return describe(sim_graph)
