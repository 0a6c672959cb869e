"""A leader without hardware: Dynamixel servos behind a pseudo-terminal, and the person who moves them."""

from __future__ import annotations


def main(args: list[str] | None = None) -> int:
    """Runs the `sim_leader` node (:mod:`vga_bringup.sim.leader.node`)."""
    from vga_bringup.sim.leader.node import main as run  # the bus alone needs no ROS

    return run(args)
