"""The sub-command `vga replay`; its node is only imported when it runs."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence

from vga_policy.cli_options import add_namespace
from vga_policy.cli_types import above_zero
from vga_policy.display import SPARSE, Display


def replay_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga replay`."""
    parser = subparsers.add_parser(
        "replay",
        help="publish recorded episodes with /clock, as if they happened now",
        description="Shows how far it is. To look at what is replayed: Foxglove or rqt_image_view on its topics; "
        "without ROS, `vga curate EPISODE --out episode.html` draws its pictures. The space bar pauses.",
        epilog="Exit status: 0 at the end or after Ctrl-C; 2 when it cannot be replayed.",
    )
    parser.add_argument("bags", nargs="+", metavar="EPISODE", help="An episode, or a directory of episodes.")
    parser.add_argument(
        "--rate", type=above_zero, default=1.0, metavar="FACTOR", help="How many times as fast as it was. Default: 1."
    )
    parser.add_argument("--loop", action="store_true", help="Starts over at the end.")
    parser.add_argument("--start-paused", action="store_true", help="Waits for the space bar, or for /replay/pause.")
    parser.add_argument(
        "--topics", nargs="+", metavar="TOPIC", help="Publishes these alone. Default: all but what a policy said."
    )
    add_namespace(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from vga_policy.nodes.replay_node import main

    parameters = {name: getattr(arguments, name) for name in ("bags", "topics", "rate", "loop", "start_paused")}
    given = [f"{name}:={json.dumps(value)}" for name, value in parameters.items() if value is not None]
    words = [word for parameter in given for word in ("-p", parameter)]
    if arguments.namespace:
        words += ["-r", f"__ns:=/{arguments.namespace.strip('/')}"]
    display = Display(every=SPARSE)
    display.say(f"to look at it: Foxglove or rqt_image_view, or without ROS: {_report(arguments.bags)}")
    progress = [""]

    def show(text: str) -> None:
        progress[0] = text
        display.show(text)

    code = main(["--ros-args", *words], show)
    if progress[0]:
        display.say(f"ended: {progress[0]}")
    return code


def _report(bags: Sequence[str]) -> str:
    """The command that draws what these hold."""
    return f"vga curate {shlex.join(bags)} --out replayed.html"
