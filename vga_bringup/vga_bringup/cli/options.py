"""What the commands of this room share of their command lines."""

from __future__ import annotations

import argparse

FIRST_TASK = "pick_cube"  # of the simulated cell, unless another is asked for


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Adds --namespace: which robot is meant."""
    parser.add_argument(
        "--namespace", default="", metavar="NAME", help="The ROS namespace of the robot's nodes. Default: the root."
    )


def robot_option(namespace: str) -> str:
    """The same option, as the next command line has it; empty for the root."""
    return f" --namespace {namespace}" if namespace else ""
