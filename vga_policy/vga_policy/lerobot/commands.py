"""`vga export lerobot` and `vga import lerobot`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from vga_policy.cli_types import positive
from vga_policy.message_constants import FAILURE, SUCCESS

Subparsers = argparse._SubParsersAction


def export_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga export lerobot`."""
    parser = subparsers.add_parser(
        "lerobot",
        help="episodes as a LeRobot dataset",
        description="Writes the usable episodes in DIR as one LeRobot dataset. A frame is what the policy would "
        "have seen at a tick of the control rate: observation.state is the measured joints (rad) and opening (m) at "
        "stamp_ns, action the accepted reference one step later. LeRobot wants timestamp = frame_index / fps; the true "
        "times are in stamp_ns and, for each camera, in capture_stamps_ns. Exit status 1 says that an episode was left "
        "out because something is wrong with it.",
    )
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("out", type=Path, metavar="OUT", help="must not exist")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--video", action="store_true", help="H.264 in MP4 files (default)")
    form.add_argument("--images", action="store_true", help="the cameras' own JPEG images: larger, lossless, fast")
    parser.add_argument("--fps", type=positive, help="frames a second (default: the control rate)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of the images (default: as recorded)")
    parser.add_argument(
        "--cameras", type=lambda text: text.split(","), metavar="A,B", help="default: the policy's views"
    )
    parser.add_argument(
        "--version",
        choices=("3.0", "2.1"),
        default="3.0",
        help="of the format: 3.0 for LeRobot from 0.4 on (default), 2.1 for openpi, GR00T and LeRobot up to 0.3",
    )
    parser.add_argument("--all", action="store_true", help="failures and what curation rejects as well")
    parser.set_defaults(run=_export)


def import_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga import`."""
    parser = subparsers.add_parser(
        "import",
        help="a LeRobot v3.0 dataset as episodes",
        description="Writes every episode of a LeRobot v3.0 dataset as a bag, if its joints and cameras are those of "
        "the cell: state and action must be called like the cell's joints and gripper_width, in rad and m, and each "
        "view's images observation.images.<camera>. An episode that is wrong in any way is left out and named; the "
        "same call again goes on with what is missing. Exit status 1 says that something was left out.",
    )
    parser.add_argument("format", choices=("lerobot",))
    parser.add_argument("dataset", type=Path, metavar="DIR")
    parser.add_argument("out", type=Path, metavar="OUT", help="directory for the episodes")
    parser.add_argument("--cell", type=Path, required=True, metavar="FILE", help="cell file the episodes are for")
    parser.add_argument(
        "--outcome", choices=(SUCCESS, FAILURE), help="label of episodes without one (default: to be reviewed)"
    )
    parser.set_defaults(run=_import)


def _export(arguments: argparse.Namespace) -> int:
    from vga_policy.cell.errors import CellError
    from vga_policy.episodes.listing import DatasetError
    from vga_policy.lerobot.export import ExportError, export
    from vga_policy.lerobot.layout import VERSIONS

    try:
        done = export(
            arguments.directories,
            arguments.out,
            video=not arguments.images,
            fps=arguments.fps,
            size=arguments.size,
            cameras=arguments.cameras,
            usable_only=not arguments.all,
            version=VERSIONS[arguments.version],
        )
    except (CellError, DatasetError, ExportError, OSError) as error:
        print(f"vga export lerobot: {error}", file=sys.stderr)
        return 1
    for skipped in done.skipped:
        print(f"left out: {skipped}", file=sys.stderr)
    print(
        f"{arguments.out}: {done.episodes} episodes, {done.frames} frames; {done.repeated} repeat the one before; "
        f"timestamps are within {1000 * done.unsteady:.0f} ms of the true times (stamp_ns)"
    )
    return 1 if done.damaged else 0


def _import(arguments: argparse.Namespace) -> int:
    from vga_policy.cell.loading import load_cell
    from vga_policy.lerobot.importing import ImportingError, import_dataset

    cell = load_cell(arguments.cell)
    try:
        written, problems = import_dataset(arguments.dataset, arguments.out, cell, arguments.outcome)
    except (ImportingError, OSError) as error:
        print(f"vga import lerobot: {error}", file=sys.stderr)
        return 1
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    print(f"{arguments.out}: {len(written)} episodes")
    return 1 if problems or not written else 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"width x height such as 224x224 expected, found {text!r}")
    return int(match[1]), int(match[2])
