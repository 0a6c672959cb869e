"""What an entrance is, and how a case of it is tried."""

import argparse
import contextlib
import io
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple


class Case(NamedTuple):
    """One damaged input to be. number: of the case. valid: of `valid.make`. directory: an empty one of its own."""

    rng: Random
    number: int
    valid: Path
    directory: Path

    def copy(self, name: str, target: str = "") -> Path:
        """A copy of a valid thing in this case's directory."""
        return Path(shutil.copytree(self.valid / name, self.directory / (target or Path(name).name), symlinks=True))


@dataclass
class Seen:
    """What came of a case. words: all that the commands said. lost: what was refused along with the damaged thing.

    accepted: whether nothing was refused.
    """

    words: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    accepted: bool = True

    def vga(self, *arguments: str | Path) -> int:
        """Runs a command in this process, all of it but the lookup of its name. Returns its exit status."""
        from vga_policy.cell.errors import CellError

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            parsed = parser().parse_args([str(argument) for argument in arguments])
            try:
                status = int(parsed.run(parsed) or 0)
            except CellError as error:
                print(error, file=sys.stderr)
                status = 2
        said = err.getvalue() + (out.getvalue() if arguments[0] in ("check", "cell") else "")
        self.words += said.splitlines()
        self.accepted &= not status
        return status

    def expects(self, faults: type[Exception] | tuple[type[Exception], ...], call: Callable, *arguments, **options):
        """What the call returns, None when it raises one of `faults`."""
        try:
            return call(*arguments, **options)
        except faults as error:
            self.words += str(error).splitlines()
            self.accepted = False
            return None


@dataclass(frozen=True)
class Entrance:
    """A place where data enters. inputs: cases of it in a whole run. damage: writes a case's input, and returns what is
    in it. use: gives that to everything that takes it."""

    name: str
    inputs: int
    damage: Callable[[Case], object]
    use: Callable[[Case, object, Seen], None]


@cache
def parser() -> argparse.ArgumentParser:
    from vga_policy.cell.commands import cell_command
    from vga_policy.check.commands import check_command
    from vga_policy.curation.commands import curate_command
    from vga_policy.lerobot import commands as lerobot

    made = argparse.ArgumentParser()
    subparsers = made.add_subparsers()
    for command in (cell_command, check_command, curate_command, lerobot.import_command):
        command(subparsers)
    family = subparsers.add_parser("export")
    lerobot.export_command(family.add_subparsers())
    return made


def mutated(rng: Random, old, mutation: Callable, times: int):
    """`old` after so many mutations."""
    for _ in range(times):
        old = mutation(rng, old)
    return old


def choice(rng: Random, weighted: Sequence[tuple[float, Callable]]) -> Callable:
    """One of the functions, as likely as its weight says."""
    return rng.choices([each for _, each in weighted], [weight for weight, _ in weighted])[0]
