"""Options that several commands have: here each has its name, its meaning and the way its value is written."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from vga_policy.cli_types import device, new_directory, new_file, positive, seed
from vga_policy.names import PRESET_NAMES

Parser = argparse._ActionsContainer

CELL = "A cell file, or the name of a shipped one."
CHECKPOINT = "A policy: the directory of its checkpoint or of its run, or the name of a shipped one."


def add_cell(parser: Parser, text: str = CELL, *, default: str | None = None, required: bool = False) -> None:
    """`--cell CELL`. text: in whole sentences, where more is to be said."""
    parser.add_argument("--cell", default=default, required=required, metavar="CELL", help=text + _told(default))


def add_checkpoint(parser: Parser, text: str = CHECKPOINT, *, default: str | None = None) -> None:
    """`--checkpoint CHECKPOINT`, required where there is no default."""
    parser.add_argument(
        "--checkpoint", default=default, required=default is None, metavar="CHECKPOINT", help=text + _told(default)
    )


def add_data(parser: Parser, text: str = "Directories of episodes.", *, default: str | None = None) -> None:
    """`--data DIR [DIR ...]`, required where there is no default."""
    places = None if default is None else [default]
    parser.add_argument(
        "--data", nargs="+", default=places, required=default is None, metavar="DIR", help=text + _told(default)
    )


def add_device(parser: Parser, *, default: str = "auto") -> None:
    """`--device DEVICE`."""
    text = "Where to compute: cpu, cuda, cuda:N, or auto, which takes a GPU where there is one."
    parser.add_argument("--device", type=device, default=default, metavar="DEVICE", help=text + _told(default))


def add_image_size(parser: Parser, *, default: int) -> None:
    """`--image-size PIXELS` of square images."""
    text = "The side of the images, in pixels."
    parser.add_argument("--image-size", type=positive, default=default, metavar="PIXELS", help=text + _told(default))


def add_jobs(parser: Parser, text: str = "The number of processes.") -> None:
    """`--jobs N`."""
    told = " Default: one for each processor."
    parser.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help=text + told)


def add_json(parser: Parser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="Prints the result as JSON.")


def add_namespace(parser: Parser, text: str = "The ROS namespace of the robot's nodes.") -> None:
    """`--namespace NAME`: which robot is meant."""
    parser.add_argument("--namespace", default="", metavar="NAME", help=f"{text} Default: the root.")


def add_results(parser: Parser) -> None:
    """`RESULTS [RESULTS ...]` and `--reference ROW`: what a table is made of, and compared with."""
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="A results.json, or its directory.")
    parser.add_argument(
        "--reference", default="", metavar="ROW", help="The row that the others are compared with. Default: the first."
    )


def add_out(
    parser: Parser, text: str, *, default: str | None = None, required: bool = False, endings: tuple[str, ...] = ()
) -> None:
    """`--out DIR` or, where a file's name has one of `endings`, `--out FILE`: where the result is written."""
    place = None if default is None else Path(default)
    parser.add_argument(
        "--out",
        type=new_file(*endings) if endings else new_directory,
        default=place,
        required=required,
        metavar="FILE" if endings else "DIR",
        help=text + _told(default),
    )


def add_preset(parser: Parser) -> None:
    """`--preset`."""
    text = "The model, and how it is trained. Default: nano."
    parser.add_argument("--preset", choices=PRESET_NAMES, default="nano", help=text)


def add_seed(parser: Parser, text: str, *, default: int = 0) -> None:
    """`--seed N`."""
    parser.add_argument("--seed", type=seed, default=default, metavar="N", help=text + _told(default))


def add_threads(parser: Parser, *, default: int | None = None) -> None:
    """`--threads N`."""
    told = " Default: torch's own." if default is None else _told(default)
    text = "The number of threads of the CPU that compute."
    parser.add_argument("--threads", type=positive, default=default, metavar="N", help=text + told)


def add_views(parser: Parser, text: str, *, default: Any = None) -> None:
    """`--views CAMERA [CAMERA ...]`; commas may stand between them, too."""
    parser.add_argument("--views", nargs="+", action=Names, default=default, metavar="CAMERA", help=text)


class Names(argparse.Action):
    """A list of names, separated by spaces or commas."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Keeps them as a list."""
        setattr(namespace, self.dest, [name for value in values for name in value.split(",") if name])


class JoinedNames(argparse.Action):
    """A list of names, separated by spaces or commas, kept as a text with commas."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Joins them."""
        setattr(namespace, self.dest, ",".join(values))


def _told(default: object) -> str:
    return "" if default is None else f" Default: {default}."
