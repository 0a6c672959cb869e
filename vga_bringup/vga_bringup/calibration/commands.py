"""`vga calibrate`: what it runs is imported when it runs."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from vga_policy.cli_options import add_cell, add_namespace, add_out
from vga_policy.cli_types import between

SQUARE = 35.0  # mm


def calibrate_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga calibrate` and what it calibrates."""
    what = "where the cameras are: a board to print, and each camera's pose for the cell file"
    parser = subparsers.add_parser("calibrate", help=what, description=f"{what[0].upper()}{what[1:]}.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    board = actions.add_parser("board", help="the board as a page to print, true to scale, with a ruler to check it by")
    _add_square(board)
    board.add_argument(
        "--paper", choices=("a4", "a3", "letter"), default="a4", help="The size of the page. Default: a4."
    )
    add_out(board, "The page, a PDF.", default="board.pdf", endings=(".pdf",))
    board.set_defaults(run=_board)
    camera = actions.add_parser(
        "camera",
        help="where a camera is, from pictures of the board in several poses of the arm",
        description="Beside the running graph. The wrist camera looks at the board, which lies still; before any other "
        "camera the hand holds it. Bring the arm to a pose where the board is seen whole, with 20 cm of free room "
        "around hand and board: from there the driver takes it through poses near by, at homing speed, and back. In "
        "each a picture is taken. Ctrl-C stops the arm and ends it early. Then the pose goes into the cell file, or is "
        "refused with the reason.",
        epilog="Exit status: 0 when the pose is written; 1 when it is refused, or no pictures come.",
    )
    camera.add_argument("name", metavar="NAME", help="The camera's name in the cell file.")
    add_cell(camera, required=True)
    _add_square(camera)
    camera.add_argument(
        "--poses", type=between(8, 100, int), default=15, metavar="N", help="The pictures to take. Default: 15."
    )
    camera.add_argument(
        "--by-hand",
        action="store_true",
        help="The arm is moved by hand, by the leader, or by vga home --position: whenever it rests in a new pose and "
        "the board is seen, a picture is taken.",
    )
    add_namespace(camera)
    camera.set_defaults(run=lambda arguments: import_module("vga_bringup.cli.calibrate").run(arguments))


def _add_square(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--square",
        type=between(5, 200),
        default=SQUARE,
        metavar="MM",
        help=f"The edge of the board's squares; measure it on the print. Default: {SQUARE:g}.",
    )


def _board(arguments: argparse.Namespace) -> int:
    from vga_bringup.calibration.board import Board

    try:
        Path(arguments.out).write_bytes(Board(arguments.square / 1000).pdf(arguments.paper))
    except (ValueError, OSError) as error:
        print(f"vga calibrate board: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.out}: print it at 100 %, measure the line of 100 mm, glue it on something flat and stiff")
    return 0
