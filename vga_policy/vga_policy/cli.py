"""The `vga` command. Its sub-commands are entry points of the group `vga.commands`, of whichever package is installed.

Commands of two words, `vga bench latency` say, are entry points of `vga.commands.bench`. One names a function
`command(subparsers)` that adds its parser and sets `run`, a function of the parsed arguments that returns the exit
status. Heavy imports belong inside `run`: `vga --help` loads every command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version

from vga_policy.cell.errors import CellError

GROUP = "vga.commands"
FAMILIES = {
    "bench": "measurements of this machine",
    "eval": "how good a policy is",
    "export": "data and policies to hand on",
    "libero": "demonstrations for the LIBERO benchmark",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `vga` with these arguments (default: the command line's) and returns its exit status.

    0 success; 1 the command failed; 2 wrong arguments or a cell file that cannot be used; 130 interrupted.
    """
    parser = build_parser(_commands())
    parsed = parser.parse_args(arguments)
    if parsed.run is None:
        parser.print_help()
        return 0
    try:
        return int(parsed.run(parsed) or 0)
    except CellError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has gone; without this, Python complains once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser(commands: Sequence[EntryPoint]) -> argparse.ArgumentParser:
    """The parser with one sub-command an entry point. One that cannot be loaded says so instead of running."""
    parser = argparse.ArgumentParser(prog="vga", description="VGA-ROS: Vision-Geometry-Action policies on ROS 2.")
    parser.add_argument("--version", action="version", version=f"vga {_version()}")
    parser.set_defaults(run=None)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add(subparsers, commands)
    for family, help_text in FAMILIES.items():
        if members := _commands(f"{GROUP}.{family}"):
            group = subparsers.add_parser(family, help=help_text)
            _add(group.add_subparsers(title="commands", metavar="COMMAND", required=True), members)
    return parser


def _commands(group: str = GROUP) -> list[EntryPoint]:
    """Every installed command by name. A source checkout may list a package twice: the first on the path counts."""
    found: dict[str, EntryPoint] = {}
    for entry_point in entry_points(group=group):
        found.setdefault(entry_point.name, entry_point)
    return [found[name] for name in sorted(found)]


def _add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser], commands: Sequence[EntryPoint]) -> None:
    for entry_point in commands:
        try:
            entry_point.load()(subparsers)
        except Exception as error:  # whatever a package does at import, the other commands must work
            _add_unavailable(subparsers, entry_point, error)


def _add_unavailable(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], entry_point: EntryPoint, error: Exception
) -> None:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]

    def run(_: argparse.Namespace) -> int:
        print(f"vga {entry_point.name}: cannot be loaded from {entry_point.value}: {reason}", file=sys.stderr)
        return 1

    # The entry point may have added its parser before it failed: that one then reports the fault.
    parser = subparsers.choices.get(entry_point.name)
    if parser is None:
        # Without a prefix for options, whatever arguments the command would have taken are taken as they are.
        parser = subparsers.add_parser(
            entry_point.name, help=f"(unavailable: {reason})".replace("%", "%%"), prefix_chars="\0", add_help=False
        )
        parser.add_argument("arguments", nargs="*")
    parser.set_defaults(run=run)


def _version() -> str:
    try:
        return version("vga_policy")
    except PackageNotFoundError:
        return "(not installed)"
