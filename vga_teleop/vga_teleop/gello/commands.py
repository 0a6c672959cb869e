"""`vga gello`: look at a leader's servos, and find what the cell file must say of them."""

from __future__ import annotations

import argparse
import sys

from vga_policy.cli_options import add_cell

ACTIONS = {
    "ping": "list the servos that answer at the cell's port, at any baud rate",
    "calibrate": "find offsets, signs and the trigger's range, and write them into the cell file",
    "watch": "show the joint angles the leader means, until Ctrl-C",
}


def gello_command(subparsers: argparse._SubParsersAction) -> None:
    """Adds `vga gello` and its actions."""
    parser = subparsers.add_parser("gello", help="the leader arm: list its servos, calibrate it, watch it")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for action, what in ACTIONS.items():
        sub = actions.add_parser(action, help=what, description=what)
        add_cell(sub, default="lab")
        if action == "calibrate":
            sub.add_argument(
                "--position",
                type=float,
                nargs=7,
                metavar="RAD",
                help="The joint angles of the known pose. Default: the cell's home.",
            )
            sub.add_argument("--pose", type=_pose, dest="position", help=argparse.SUPPRESS)  # as --position was called
            sub.add_argument(
                "--signs",
                type=_signs,
                metavar="SIGNS",
                help="The joints' signs, 1 or -1, separated by commas. Default: they are asked for.",
            )
            sub.add_argument("--exact", action="store_true", help="Does not round offsets to multiples of pi/2.")
        sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from vga_policy.cell.errors import CellError
    from vga_policy.cell.loading import load_cell
    from vga_policy.cell.shipped import cell_path

    from vga_teleop.gello import calibration_dialogue, inspect
    from vga_teleop.gello.bus import ReadError
    from vga_teleop.gello.calibration import CalibrationError
    from vga_teleop.gello.port import PortError

    path = cell_path(args.cell)
    cell = load_cell(path)
    if cell.leader is None:
        raise CellError(f"{path}: leader: this cell has none; add the section with port and baudrate first")
    try:
        if args.action == "ping":
            return inspect.ping(cell.leader)
        if args.action == "watch":
            return inspect.watch(cell, cell.leader)
        pose = args.position or cell.arm.home
        return calibration_dialogue.run(path, cell.leader, pose, signs=args.signs, exact=args.exact)
    except (PortError, ReadError, CalibrationError) as error:
        print(error, file=sys.stderr)
        return 1


def _pose(text: str) -> list[float]:
    return [float(part) for part in _seven(text)]


def _signs(text: str) -> list[int]:
    signs = [int(part) for part in _seven(text)]
    if set(signs) - {1, -1}:
        raise argparse.ArgumentTypeError("signs are 1 or -1")
    return signs


def _seven(text: str) -> list[str]:
    parts = text.replace(",", " ").split()
    if len(parts) != 7:
        raise argparse.ArgumentTypeError(f"needs 7 numbers separated by commas, found {len(parts)}")
    return parts
