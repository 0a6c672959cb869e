"""What the commands' arguments may be: types for argparse, which refuse a value in one line, and former names."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Number = type[int] | type[float]


def at_least(minimum: float, kind: Number = int) -> Callable[[str], Any]:
    """Type of a number that is `minimum` or more."""

    def parse(text: str) -> Any:
        return _in_range(_number(text, kind), minimum, math.inf, f"must be at least {minimum}")

    return parse


def between(low: float, high: float, kind: Number = float, unit: str = "") -> Callable[[str], Any]:
    """Type of a number from `low` to `high`, both included. unit: as the refusal names it."""

    def parse(text: str) -> Any:
        return _in_range(_number(text, kind), low, high, f"must be between {low} and {high}{unit and ' '}{unit}")

    return parse


def seed(text: str) -> int:
    """Type of a seed of random numbers, which has 63 bits."""
    return int(_in_range(_number(text, int), 0, 2**63 - 1, "must be between 0 and 2^63 - 1"))


def above_zero(text: str) -> float:
    """Type of a finite number above 0."""
    value = float(_number(text, float))
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0 (found {value})")
    return value


def decay(text: str) -> float:
    """Type of what an average keeps of itself each step: from 0, and below 1."""
    value = float(_number(text, float))
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1 (found {value})")
    return value


def device(text: str) -> str:
    """Type of the name of what computes."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda or cuda:N (found {text!r})")
    return text


def new_file(*endings: str) -> Callable[[str], Path]:
    """Type of the path of a file to write, whose name has one of these endings: nothing of another kind is replaced."""

    def parse(text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() not in endings:
            raise argparse.ArgumentTypeError(f"must end in {' or '.join(endings)} (found {text!r})")
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"must be a file, and {text} is a directory")
        return path

    return parse


def new_directory(text: str) -> Path:
    """Type of the path of a directory that is there, or can be made."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a directory, and {text} is a file")
    return path


def instruction(text: str) -> str:
    """Type of what a policy is told to do."""
    if not text.strip():
        raise argparse.ArgumentTypeError('must say what to do, as in "pick up the red cube" (found nothing)')
    return text


def share(text: str) -> float:
    """Type of a share of something, but not of nothing."""
    value = float(_number(text, float))
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0, and 1 at most (found {value})")
    return value


positive = at_least(1)
natural = at_least(0)


def add_former_name(parser: argparse._ActionsContainer, former: str, name: str) -> None:
    """Lets the option `name` of a parser be called `former` as well: not shown in the help, with a note on stderr."""
    option = next(action for action in parser._actions if name in action.option_strings)

    class FormerName(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: Any,
            option_string: str | None = None,
        ) -> None:
            print(f"{option_string} is now {name}", file=sys.stderr)
            option.required = False  # it is there
            option(parser, namespace, values, option_string)

    parser.add_argument(
        former,
        action=FormerName,
        dest=option.dest,
        default=option.default,
        nargs=option.nargs,
        type=option.type or str,
        choices=option.choices,
        help=argparse.SUPPRESS,
    )


def last_as_out(command: str, arguments: argparse.Namespace, places: list[Any]) -> Any:
    """What `--out` says or, where it was not given, the last of `places`, as it was once; that is taken out of them.

    Raises ValueError where there is no other.
    """
    if arguments.out is not None:
        return arguments.out
    if len(places) < 2:
        raise ValueError("--out is missing: where to write")
    print(f"vga {command}: the last place is now given with --out {places[-1]}", file=sys.stderr)
    return places.pop()


def _number(text: str, kind: Number) -> float:
    try:
        value = kind(text)
    except ValueError:
        article = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"must be {article} (found {text!r})") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be finite (found {text})")
    return value


def _in_range(value: float, low: float, high: float, rule: str) -> float:
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{rule} (found {value})")
    return value
