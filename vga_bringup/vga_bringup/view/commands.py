"""The sub-command `vga view`; what it needs is imported when it runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from vga_policy.cli_options import add_cell, add_checkpoint, add_namespace
from vga_policy.cli_types import new_file

if TYPE_CHECKING:
    from vga_bringup.view.geometry import Geometry
    from vga_bringup.view.live import Live

APART = 60_000_000  # ns, live, between two images of a camera, values of a curve, or places of a frame
TOGETHER = 1000  # events that are handed on at once, of an episode
EVERY = 0.4  # s, live, between two looks at what has come


def view_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga view`."""
    parser = subparsers.add_parser(
        "view",
        help="look at a running robot, episodes and trials in 3D, with Rerun",
        description="Shows the robot with its cameras in 3D, every camera's images, the joints as told and as "
        "measured, the hand, what the policy saw and meant to do, and modes, refusals and grasps as a log. With "
        "episodes it needs no ROS; without, it shows the running graph, until Ctrl-C.",
        epilog="Exit status: 0 when the viewer is closed, the file is written, or the running graph was shown until "
        "Ctrl-C; 1 when there is nothing to look at, or to look with; 130 after Ctrl-C where episodes are shown.",
    )
    parser.add_argument(
        "episodes",
        nargs="*",
        type=Path,
        metavar="EPISODE",
        help="An episode or a trial, or a directory of such. Default: the running graph.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--save", type=new_file(".rrd"), metavar="FILE.rrd", help="Writes one episode, or the running graph, for Rerun."
    )
    where.add_argument("--web", action="store_true", help="Shows it in a browser of this machine, until Ctrl-C.")
    where.add_argument(
        "--blueprint",
        type=new_file(".rbl"),
        metavar="FILE.rbl",
        help="Writes Rerun's blueprint for the cameras of --cell, no more.",
    )
    parser.add_argument(
        "--geometry",
        action="store_true",
        help="Draws depth as points, twice a second at the most: what the policy predicts, and what cameras measured.",
    )
    add_checkpoint(parser, "The policy of --geometry.", default="nano")
    add_cell(parser, "The cell of --blueprint.", default="sim")
    add_namespace(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from vga_policy.bags.reader import BagError
    from vga_policy.cell.errors import CellError
    from vga_policy.episodes.listing import DatasetError

    from vga_bringup.description.frames import DescriptionError
    from vga_bringup.view.sheet import ViewError, load_rerun

    try:
        load_rerun()
        if arguments.blueprint is not None:
            return _save_blueprint(arguments.blueprint, arguments.cell)
        return _show_episodes(arguments) if arguments.episodes else _show_graph(arguments)
    except (BagError, CellError, DatasetError, DescriptionError, ViewError) as error:
        print(f"vga view: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"vga view: {error.filename or arguments.save}: {error.strerror or error}", file=sys.stderr)
        return 1


def _save_blueprint(file: Path, cell: str) -> int:
    from vga_policy.cell.loading import load_cell
    from vga_policy.cell.shipped import cell_path

    from vga_bringup.view.blueprint_file import save_blueprint

    save_blueprint(file, load_cell(cell_path(cell)))
    print(f"written: {file}; with a recording: rerun EPISODE.rrd {file}")
    return 0


def _show_episodes(arguments: argparse.Namespace) -> int:
    from vga_policy.episodes.listing import find_episodes

    from vga_bringup.view.sheet import ViewError
    from vga_bringup.view.viewer import Viewer

    episodes = find_episodes(arguments.episodes)
    if arguments.save is not None and len(episodes) > 1:
        raise ViewError(f"--save writes one episode, and these are {len(episodes)}: name one, such as {episodes[0]}")
    with _geometry(arguments, patient=True) as geometry, tempfile.TemporaryDirectory(prefix="vga-view-") as folder:
        if arguments.save is not None:
            _draw(episodes[0], arguments.save, geometry)
            print(f"written: {arguments.save}; to look at it: rerun {arguments.save}")
            return 0
        files = [Path(folder, f"{i}.rrd") for i in range(len(episodes))]
        for episode, file in zip(episodes, files, strict=True):
            _draw(episode, file, geometry)
        with Viewer(files, web=arguments.web) as viewer:
            if viewer.page:
                print(f"open {viewer.page}; Ctrl-C ends it", flush=True)
            return viewer.wait()


def _draw(episode: Path, file: Path, geometry: Geometry | None) -> None:
    from vga_bringup.view.drawing import Drawing
    from vga_bringup.view.recorded import Recorded
    from vga_bringup.view.sheet import Sheet

    recorded = Recorded(episode)
    try:
        sheet = Sheet(episode.name)
        sheet.save(file)
        drawing = Drawing(
            sheet, recorded.urdf, recorded.fixed, recorded.topic_names, views=recorded.views, geometry=geometry
        )
        for number, event in enumerate(recorded.events(drawing.wants)):
            drawing.take(event)
            if number % TOGETHER == 0:  # so that a viewer that reads on has some of everything
                drawing.flush()
        drawing.close()
    finally:
        recorded.close()
    for note in drawing.notes:
        print(f"{episode.name}: {note}", file=sys.stderr)


def _show_graph(arguments: argparse.Namespace) -> int:
    """0 once it is stopped, or the viewer is closed; 1 where there is no robot."""
    from vga_policy.ros.errors import GraphError

    from vga_bringup.view.sheet import ViewError

    try:
        from vga_policy.ros.client.session import Session, stop_request

        from vga_bringup.view.live import Live
    except ImportError as error:
        raise ViewError(f"ROS is not installed ({error}): name an episode, or look at the robot where it is") from None
    try:
        with (
            stop_request() as stop,
            _geometry(arguments, patient=False) as geometry,
            Session("vga_view", arguments.namespace) as session,
        ):
            _follow(Live(session), arguments, geometry, stop)
    except GraphError as error:
        print(f"vga view: {error}", file=sys.stderr)
        return 1
    return 0


def _follow(live: Live, arguments: argparse.Namespace, geometry: Geometry | None, stop: Event) -> None:
    from vga_bringup.view.drawing import Drawing
    from vga_bringup.view.sheet import Sheet
    from vga_bringup.view.viewer import Viewer

    with ExitStack() as stack:
        sheet = Sheet(f"live {datetime.now():%Y-%m-%d %H:%M:%S}")
        viewer = None
        if arguments.save is not None:
            sheet.save(arguments.save)
        else:
            viewer = stack.enter_context(Viewer(web=arguments.web))
            sheet.connect(viewer.address)
        drawing = Drawing(sheet, live.urdf, live.fixed, live.topic_names, geometry=geometry, apart_ns=APART)
        stack.callback(drawing.close)
        where = arguments.save if viewer is None else viewer.page or "the viewer's window"
        print(f"drawing the running robot: {where}; Ctrl-C ends it", flush=True)
        told: list[str] = []
        while not stop.is_set() and (viewer is None or viewer.open):
            drawing.find_cameras(live.topic_names)
            for event in live.events(drawing.wants, EVERY):
                drawing.take(event)
            drawing.flush()
            for note in drawing.notes:
                if note not in told:
                    print(note, file=sys.stderr, flush=True)
            told = drawing.notes


@contextmanager
def _geometry(arguments: argparse.Namespace, *, patient: bool) -> Iterator[Geometry | None]:
    """The 3D heads, where they are asked for. Raises ViewError where there are none."""
    if not arguments.geometry:
        yield None
        return
    from vga_bringup.view.geometry import Geometry, GeometryError
    from vga_bringup.view.sheet import ViewError

    try:
        geometry = Geometry(arguments.checkpoint, patient=patient)
    except (GeometryError, ValueError) as error:
        raise ViewError(str(error)) from None
    try:
        yield geometry
    finally:
        geometry.close()
