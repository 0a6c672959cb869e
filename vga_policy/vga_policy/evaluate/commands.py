"""`vga eval open-loop`, `vga eval geometry` and `vga eval table`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from vga_policy.cli_options import (
    add_checkpoint,
    add_data,
    add_device,
    add_json,
    add_out,
    add_results,
    add_threads,
    add_views,
)
from vga_policy.cli_types import positive

if TYPE_CHECKING:
    from vga_policy.dataset.samples import SampleDataset

Subparsers = argparse._SubParsersAction

OUT = "The directory of what is written."


def open_loop_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga eval open-loop`."""
    parser = subparsers.add_parser(
        "open-loop",
        help="predicted against recorded chunks",
        description="What a policy would have done in recorded episodes, against what was done: mean absolute error of "
        "every joint and step, beside that of standing still. Writes open_loop.json and open_loop.png.",
    )
    _compared_options(parser, "Directories of episodes.", samples=500)
    add_threads(parser, default=1)
    add_out(parser, OUT, default="out/open_loop")
    add_json(parser)
    parser.set_defaults(run=_open_loop)


def geometry_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga eval geometry`."""
    parser = subparsers.add_parser(
        "geometry",
        help="depth and camera errors of a policy against ground truth",
        description="Depth and cameras that a policy predicts, against the ground truth of simulated episodes (section "
        "5.3, figure 8). Beside it stands a constant guess, the samples' own mean: what a policy that sees nothing "
        "could reach at best. Writes geometry.json and geometry.png.",
    )
    _compared_options(parser, "Directories of episodes, recorded with depth.", samples=200)
    add_out(parser, OUT, default="out/geometry")
    add_json(parser)
    parser.set_defaults(run=_geometry)


def table_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga eval table`."""
    parser = subparsers.add_parser(
        "table",
        help="results of trials side by side, as the paper's Table 3",
        description="Results of `vga eval sim` side by side, with intervals of the differences on equal trials. "
        "Results of one method with different --run are pooled. Writes table.md, table.csv and table.png.",
    )
    add_results(parser)
    add_out(parser, OUT, default="out/table")
    parser.set_defaults(run=_table)


def _compared_options(parser: argparse.ArgumentParser, data: str, *, samples: int) -> None:
    """What a policy is compared with, and how."""
    add_checkpoint(parser)
    add_data(parser, data)
    add_views(parser, "The cameras of view slots 0, 1, and so on. Default: the training's.")
    parser.add_argument(
        "--samples", type=positive, default=samples, metavar="N", help=f"The most samples. Default: {samples}."
    )
    add_device(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="Replaces what is in --out, even if it tells of something else."
    )


def _open_loop(arguments: argparse.Namespace) -> int:
    from vga_policy.cell.errors import CellError
    from vga_policy.checkpoints.checkpoint import CheckpointError
    from vga_policy.dataset.dataset import EpisodeDataset
    from vga_policy.episodes.listing import DatasetError
    from vga_policy.evaluate import open_loop
    from vga_policy.evaluate.open_loop_plot import draw_open_loop
    from vga_policy.files import write_atomically
    from vga_policy.inference.policy import Policy, PolicyError
    from vga_policy.text.pretrained import EncoderError

    try:
        _refuse_other(arguments, "open_loop.json")
        policy = Policy.from_pretrained(arguments.checkpoint, device=arguments.device, threads=arguments.threads)
        views = arguments.views or [camera.name for camera in policy.cell.views]
        cell = policy.cell.with_views(views)
        dataset = EpisodeDataset(arguments.data, policy.checkpoint.config.image_size, cell=cell, views=views)
        result = open_loop.run(policy, dataset, open_loop.spread(dataset, arguments.samples))
        shown = open_loop.run(policy, dataset, open_loop.longest_episode(dataset))
    except (CheckpointError, CellError, DatasetError, EncoderError, OSError, PolicyError) as error:
        print(f"vga eval open-loop: {error}", file=sys.stderr)
        return 1
    _tell_left_out(dataset)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = {**_about(arguments), "views": views, **result.summary()}
    text = json.dumps(report, indent=2)
    write_atomically(arguments.out / "open_loop.json", text + "\n")
    draw_open_loop(result, shown, policy.cell, arguments.out / "open_loop.png")
    if arguments.json:
        print(text)
        return 0
    print(f"{report['samples']} samples of {report['episodes']} episodes: mean absolute error")
    print(open_loop.table(result, policy.cell.arm.joint_names))
    print(f"results: {arguments.out}")
    return 0


def _geometry(arguments: argparse.Namespace) -> int:
    from vga_policy.cell.errors import CellError
    from vga_policy.checkpoints import checkpoint as checkpoints
    from vga_policy.checkpoints.checkpoint import CheckpointError
    from vga_policy.dataset.opening import open_dataset
    from vga_policy.embodiment.embodiment import EmbodimentError
    from vga_policy.episodes.listing import DatasetError
    from vga_policy.evaluate import geometry
    from vga_policy.evaluate.geometry_plot import draw_geometry
    from vga_policy.files import write_atomically
    from vga_policy.inference.devices import DeviceError, usable_device
    from vga_policy.text.pretrained import EncoderError

    try:
        _refuse_other(arguments, "geometry.json")
        checkpoint = checkpoints.load(arguments.checkpoint)
        views = arguments.views or [view.name for view in checkpoint.embodiment.views]
        checkpoint.contract.with_views(views)  # refuses unknown cameras in one line, before every episode does
        size = checkpoint.config.image_size
        dataset = open_dataset(arguments.data, size, views=views, geometry=True, skip_idle=False)
        geometry.refuse_other(checkpoint, dataset)
        device = usable_device(arguments.device)
        found = geometry.compare(checkpoint, geometry.evenly(dataset, arguments.samples), device)
    except (
        CheckpointError,
        CellError,
        DatasetError,
        DeviceError,
        EmbodimentError,
        EncoderError,
        OSError,
        geometry.GeometryError,
    ) as error:
        print(f"vga eval geometry: {error}", file=sys.stderr)
        return 1
    _tell_left_out(dataset)
    policy = geometry.errors(found.prediction, found.truth, found.mask, views)
    guess = geometry.errors(geometry.constant(found.truth, found.mask), found.truth, found.mask, views)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = {**_about(arguments), "samples": len(found.images), "views": views, "policy": policy, "constant": guess}
    text = json.dumps(report, indent=2)
    write_atomically(arguments.out / "geometry.json", text + "\n")
    draw_geometry(found, views, arguments.out / "geometry.png")
    if arguments.json:
        print(text)
        return 0
    print(f"{len(found.images)} samples; in brackets a constant guess, the samples' own mean")
    for view in views:
        for part, figures in policy[view].items():
            print(f"{view:10} {part:22} {_in_words(figures, guess[view][part])}")
    print(f"results: {arguments.out}")
    return 0


def _about(arguments: argparse.Namespace) -> dict[str, Any]:
    """Of what the result is, and what was asked for."""
    options = {"samples": arguments.samples, "views": arguments.views}
    return {"checkpoint": arguments.checkpoint, "data": arguments.data, "options": options}


def _refuse_other(arguments: argparse.Namespace, name: str) -> None:
    """Raises FileExistsError where results of something else are, unless they are to be overwritten."""
    path = arguments.out / name
    if arguments.overwrite or not path.exists():
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key, value in _about(arguments).items() if there.get(key, value) != value]
    except (OSError, ValueError, AttributeError):
        differing = ["unreadable"]
    if differing:
        of = f"results of something else are there ({', '.join(differing)})"
        raise FileExistsError(f"{path}: {of}: give another --out, or add --overwrite")


def _tell_left_out(dataset: SampleDataset) -> None:
    if dataset.skipped:
        print(dataset.left_out, file=sys.stderr)


def _in_words(figures: dict[str, float] | float, yardstick: dict[str, float] | float) -> str:
    if isinstance(figures, dict) and isinstance(yardstick, dict):
        return ", ".join(f"{name} {value} [{yardstick[name]}]" for name, value in figures.items())
    return f"{figures} [{yardstick}]"


def _table(arguments: argparse.Namespace) -> int:
    from vga_policy.evaluate import results
    from vga_policy.evaluate.tables import files as table_files
    from vga_policy.evaluate.tables import table
    from vga_policy.evaluate.tables import text as table_text

    try:
        made = table.compare([results.load(path) for path in arguments.results], arguments.reference)
        table_files.save(made, arguments.out)
    except (OSError, ValueError) as error:
        print(f"vga eval table: {error}", file=sys.stderr)
        return 1
    print(table_text.markdown(made), end="")
    return 0
