"""The sub-command `vga replay`; its node is only imported when it runs."""

from __future__ import annotations

import argparse
import json

from vga_policy.cli_types import above_zero


def replay_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga replay`."""
    parser = subparsers.add_parser("replay", help="publish recorded episodes with /clock, as if they happened now")
    parser.add_argument("bags", nargs="+", metavar="EPISODE", help="An episode, or a directory of episodes.")
    parser.add_argument(
        "--rate", type=above_zero, default=1.0, metavar="FACTOR", help="How many times as fast as it was. Default: 1."
    )
    parser.add_argument("--loop", action="store_true", help="Starts over at the end.")
    parser.add_argument("--start-paused", action="store_true", help="Waits for the space bar, or for /replay/pause.")
    parser.add_argument(
        "--topics", nargs="+", metavar="TOPIC", help="Publishes these alone. Default: all but what a policy said."
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from vga_policy.nodes.replay_node import main

    parameters = {name: getattr(arguments, name) for name in ("bags", "topics", "rate", "loop", "start_paused")}
    given = [f"{name}:={json.dumps(value)}" for name, value in parameters.items() if value is not None]
    return main(["--ros-args", *(word for parameter in given for word in ("-p", parameter))])
