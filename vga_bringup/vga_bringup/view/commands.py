"""The sub-command `vga view`; what it needs is imported when it runs."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"


def view_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga view`."""
    parser = subparsers.add_parser(
        "view",
        help="look at episodes and trials in 3D, with Rerun",
        description="Shows the robot with its cameras in 3D, every camera's images, the joints as told and as "
        "measured, the hand, what the policy meant to do, and modes and refusals as a log. Needs no ROS.",
        epilog="Exit status: 0 when the viewer is closed, or the file is written; 1 when there is nothing to look at, "
        "or to look with; 130 after Ctrl-C.",
    )
    parser.add_argument(
        "episodes", nargs="+", type=Path, metavar="EPISODE", help="An episode or a trial, or a directory of such."
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--save", type=Path, metavar="FILE.rrd", help="Writes one episode for Rerun instead of showing it."
    )
    where.add_argument("--web", action="store_true", help="Shows it in a browser of this machine, until Ctrl-C.")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from vga_policy.bags.reader import BagError
    from vga_policy.episodes.listing import DatasetError, find_episodes

    from vga_bringup.description.frames import DescriptionError
    from vga_bringup.view.drawing import ViewError, load_rerun

    try:
        load_rerun()
        episodes = find_episodes(arguments.episodes)
        if arguments.save is None:
            with tempfile.TemporaryDirectory(prefix="vga-view-") as folder:
                files = [_draw(path, Path(folder, f"{i}.rrd")) for i, path in enumerate(episodes)]
                return _show(files, web=arguments.web)
        if len(episodes) > 1:
            raise ViewError(
                f"--save writes one episode, and these are {len(episodes)}: name one, such as {episodes[0]}"
            )
        print(f"written: {_draw(episodes[0], arguments.save)}; to look at it: rerun {arguments.save}")
    except (BagError, DatasetError, DescriptionError, ViewError) as error:
        print(f"vga view: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"vga view: {error.filename or arguments.save}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _draw(episode: Path, file: Path) -> Path:
    from vga_bringup.view.drawing import Drawing
    from vga_bringup.view.recorded import Recorded

    recorded = Recorded(episode)
    try:
        drawing = Drawing(recorded)
        drawing.save(file)
    finally:
        recorded.close()
    for note in drawing.notes:
        print(f"{episode.name}: {note}", file=sys.stderr)
    return file


def _show(files: Sequence[Path], *, web: bool) -> int:
    """Runs Rerun's own viewer on these files until it is closed; nobody but this machine reaches it."""
    words = ["--serve-web", "--bind", LOOPBACK] if web else []
    return subprocess.run([sys.executable, "-m", "rerun", *words, *map(str, files)]).returncode
