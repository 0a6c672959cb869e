"""`vga export lerobot` and `vga import lerobot`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from vga_policy.cli_options import add_cell, add_out, add_views
from vga_policy.cli_types import add_former_name, last_as_out, positive
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
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="Directories of episodes.")
    add_out(parser, "The directory of the dataset, which must not exist.")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--video", action="store_true", help="Writes H.264 in MP4 files. This is the default.")
    form.add_argument(
        "--images", action="store_true", help="Writes the cameras' own JPEG images: larger, lossless, fast."
    )
    parser.add_argument("--fps", type=positive, metavar="N", help="The frames a second. Default: the control rate.")
    parser.add_argument(
        "--image-size",
        type=_size,
        metavar="PIXELS",
        help="The size of the images: WxH, or a side. Default: as recorded.",
    )
    add_former_name(parser, "--size", "--image-size")
    add_views(parser, "The cameras whose images are written. Default: the policy's views.")
    add_former_name(parser, "--cameras", "--views")
    parser.add_argument(
        "--format-version",
        choices=("3.0", "2.1"),
        default="3.0",
        help="The version of LeRobot's format: 3.0 for LeRobot from 0.4 on, 2.1 for openpi, GR00T and LeRobot up to "
        "0.3. Default: 3.0.",
    )
    add_former_name(parser, "--version", "--format-version")
    parser.add_argument("--all", action="store_true", help="Takes failures and what curation rejects as well.")
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
    parser.add_argument("format", choices=("lerobot",), help="What kind of dataset it is.")
    parser.add_argument("places", nargs="+", type=Path, metavar="DATASET", help="The directory of the dataset.")
    add_out(parser, "The directory of the episodes; the same command goes on with those that are missing there.")
    add_cell(parser, "The cell that the episodes are for: a cell file, or the name of a shipped one.", required=True)
    parser.add_argument(
        "--map",
        type=_mapping,
        default={},
        metavar="NAME=MEANING,...",
        help="What the dataset's names of joints and cameras mean in the cell, where they are others: "
        "motor_0=fr3_joint1,observation.images.top=fixed_1.",
    )
    parser.add_argument(
        "--outcome",
        choices=(SUCCESS, FAILURE),
        help="The label of episodes that have none. Default: none; they are to be reviewed.",
    )
    parser.set_defaults(run=_import)


def _export(arguments: argparse.Namespace) -> int:
    from vga_policy.cell.errors import CellError
    from vga_policy.episodes.listing import DAMAGED, DatasetError, left_out
    from vga_policy.lerobot.export import ExportError, export
    from vga_policy.lerobot.layout import VERSIONS

    try:
        out = last_as_out("export lerobot", arguments, arguments.directories)
        done = export(
            arguments.directories,
            out,
            video=not arguments.images,
            fps=arguments.fps,
            size=arguments.image_size,
            cameras=arguments.views,
            usable_only=not arguments.all,
            version=VERSIONS[arguments.format_version],
        )
    except (CellError, DatasetError, ExportError, OSError, ValueError) as error:
        print(f"vga export lerobot: {error}", file=sys.stderr)
        return 1
    for skipped in done.skipped:
        if skipped.kind == DAMAGED:
            print(f"left out: {skipped}", file=sys.stderr)
    if done.skipped:
        print(left_out(done.skipped, done.episodes), file=sys.stderr)
    print(
        f"{out}: {done.episodes} episodes, {done.frames} frames; {done.repeated} repeat the one before; "
        f"timestamps are within {1000 * done.unsteady:.0f} ms of the true times (stamp_ns)"
    )
    return 1 if done.damaged else 0


def _import(arguments: argparse.Namespace) -> int:
    from vga_policy.cell.loading import load_cell
    from vga_policy.cell.shipped import cell_path
    from vga_policy.lerobot.importing import import_dataset

    cell = load_cell(cell_path(arguments.cell))
    try:
        out = last_as_out("import lerobot", arguments, arguments.places)
        if len(arguments.places) > 1:
            raise ValueError(f"one dataset at a time, found {len(arguments.places)}")
        written, problems = import_dataset(arguments.places[0], out, cell, arguments.outcome, arguments.map)
    except (ValueError, OSError) as error:
        print(f"vga import lerobot: {error}", file=sys.stderr)
        return 1
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    print(f"{out}: {len(written)} episodes")
    return 1 if problems or not written else 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"width x height such as 224x224, or a side, expected, found {text!r}")
    return int(match[1]), int(match[2] or match[1])


def _mapping(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if bad := [name for name, equals, meaning in pairs if not (name and equals and meaning)]:
        raise argparse.ArgumentTypeError(f"{bad[0]!r}: NAME=MEANING expected, such as motor_0=fr3_joint1")
    return {name: meaning for name, _, meaning in pairs}
