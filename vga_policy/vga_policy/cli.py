"""The `vga` command. Its sub-commands are entry points of the group `vga.commands`, of whichever package is installed.

Commands of two words, `vga bench latency` say, are entry points of `vga.commands.bench`. One names a function
`command(subparsers)` that adds its parser and sets `run`, a function of the parsed arguments that returns the exit
status. Heavy imports belong inside `run`: `vga --help` loads every command, a command's name that command alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any, NoReturn

from vga_policy.cell.errors import CellError

GROUP = "vga.commands"
FAMILIES = {
    "bench": "measurements of this machine",
    "eval": "how good a policy is",
    "export": "data and policies to hand on",
    "libero": "demonstrations and tables of the LIBERO benchmark",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `vga` with these arguments (default: the command line's) and returns its exit status.

    0 success; 1 the command failed; 2 wrong arguments or a cell file that cannot be used; 130 interrupted.
    """
    try:
        words = _help_asked(list(sys.argv[1:] if arguments is None else arguments))
        parser = build_parser(words[0] if words else "")
        parsed, unknown = parser.parse_known_args(words)
        if unknown:
            _refuse(parser, words, unknown)
        if parsed.run is None:
            parser.print_help()
            return 0
        return int(parsed.run(parsed) or 0)
    except CellError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has gone; without this, Python complains once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The parser with one sub-command an entry point. One that cannot be loaded says so instead of running.

    command: the only one to be loaded, if there is one of this name.
    """
    parser: argparse.ArgumentParser = _Parser(
        prog="vga", description="VGA-ROS: Vision-Geometry-Action policies on ROS 2."
    )
    parser.add_argument("--version", action="version", version=f"vga {_version()}")
    parser.set_defaults(run=None)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands = _commands()
    families = {family: text for family, text in FAMILIES.items() if _commands(f"{GROUP}.{family}")}
    if command in (*families, *(entry_point.name for entry_point in commands)):
        commands = [entry_point for entry_point in commands if entry_point.name == command]
        families = {family: text for family, text in families.items() if family == command}
    _add(subparsers, commands)
    for family, help_text in families.items():
        group = subparsers.add_parser(family, help=help_text)
        _add(group.add_subparsers(title="commands", metavar="COMMAND", required=True), _commands(f"{GROUP}.{family}"))
    subparsers.add_parser("help", help="this list; `vga help COMMAND`: what a command does and takes")
    return parser


def _help_asked(words: list[str]) -> list[str]:
    """The words of a command line, with `help` before a command, or after a family, as --help after it."""
    if words[:1] == ["help"]:
        return [*(word for word in words[1:] if not word.startswith("-")), "--help"]
    return [words[0], "--help"] if words[1:] == ["help"] and words[0] in FAMILIES else words


def _refuse(parser: argparse.ArgumentParser, words: list[str], unknown: list[str]) -> NoReturn:
    """Ends with status 2, the usage of the command that the words were meant for, and a hint at what was meant."""
    for word in words:
        choices = next((action.choices for action in parser._actions if isinstance(action.choices, dict)), {})
        parser = choices.get(word, parser)
    options = {name: action for action in parser._actions for name in action.option_strings}
    first, hint = unknown[0], ""
    if first.startswith("-"):
        if near := get_close_matches(first.partition("=")[0], options, 1):
            hint = f"; is {near[0]} meant?"
    elif (place := words.index(first)) > 1 and words[place - 2] in options and options[words[place - 2]].nargs is None:
        hint = f"; {words[place - 2]} takes one value"
    parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


class _Parser(argparse.ArgumentParser):
    """Of every command: an option's name is written out, lest an option that is added change what others mean."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})


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
