"""`vga scenes`: random views of the simulated cell with depth and cameras, for geometric pretraining."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

from vga_policy.cli_options import add_cell, add_image_size, add_jobs, add_out, add_seed
from vga_policy.cli_types import add_former_name, positive
from vga_policy.workers import worker_pool

if TYPE_CHECKING:
    from vga_bringup.sim.random_scenes.random_scene import RandomScenes
    from vga_bringup.sim.scene.places import Clearance

SCENES_A_SHARD = 250
NANO_SIZE = 112


def scenes_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga scenes`."""
    parser = subparsers.add_parser("scenes", help="random scenes of the simulated cell, for `vga pretrain`")
    add_out(
        parser,
        "The directory of the scenes; the same command goes on with those that are missing there.",
        required=True,
    )
    parser.add_argument(
        "--count", type=positive, default=10_000, metavar="N", help="The scenes, of three views each. Default: 10000."
    )
    add_seed(parser, "The seed of everything that is drawn at random.")
    add_image_size(parser, default=NANO_SIZE)
    add_former_name(parser, "--size", "--image-size")
    add_jobs(parser)
    add_cell(parser, default="sim")
    parser.set_defaults(run=_scenes)


def _scenes(arguments: argparse.Namespace) -> int:
    from vga_policy.dataset.scenes import ABOUT, SHARD

    from vga_bringup.sim.scene.places import CLEAR_ANGLE, CLEAR_DISTANCE, UNSEEN

    out: Path = arguments.out
    asked = {"count": arguments.count, "seed": arguments.seed, "size": arguments.image_size, "cell": arguments.cell}
    try:
        out.mkdir(parents=True, exist_ok=True)
        if (out / ABOUT).exists():
            about = json.loads((out / ABOUT).read_text())
            if {key: about[key] for key in asked} != asked:
                print(f"vga scenes: {out}: holds other scenes ({about}); give another --out", file=sys.stderr)
                return 1
        about = {**asked, "clear_of": {"view": UNSEEN, "metres": CLEAR_DISTANCE, "degrees": CLEAR_ANGLE}}
        (out / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        starts = range(0, arguments.count, SCENES_A_SHARD)
        shards = {start: out / SHARD.format(start // SCENES_A_SHARD) for start in starts}
        missing = {start: file for start, file in shards.items() if not file.exists()}
        _draw_shards(missing, arguments)
    except (OSError, BrokenProcessPool) as error:
        print(f"vga scenes: {out}: {error}; the same command goes on from here", file=sys.stderr)
        return 1
    size = sum(file.stat().st_size for file in shards.values())
    print(f"{arguments.count} scenes in {out}, {size / 1e6:.0f} MB")
    return 0


def _draw_shards(missing: dict[int, Path], arguments: argparse.Namespace) -> None:
    from rich.progress import track

    from vga_bringup.sim.scene.places import UNSEEN

    os.environ["LP_NUM_THREADS"] = "0"  # Mesa then draws in the thread that asks, and processes share the processors
    started, drawn = time.monotonic(), 0
    with worker_pool(arguments.jobs, _open, (arguments.cell, arguments.image_size)) as pool:
        jobs = []
        for start, file in missing.items():
            count = min(SCENES_A_SHARD, arguments.count - start)
            drawn += count
            jobs.append(pool.submit(_draw_shard, arguments.seed, start, count, file))
        nearest, narrowest = [], []
        for job in track(as_completed(jobs), "drawing scenes", len(jobs)):
            clearance = job.result()
            nearest.append(clearance.distance)
            narrowest.append(clearance.angle)
    if drawn:
        rate = drawn / (time.monotonic() - started)
        print(
            f"{rate:.1f} scenes/s; no camera came nearer than {min(nearest):.2f} m and {min(narrowest):.1f} degrees to "
            f"{UNSEEN}, which stays unseen for vga eval sim --view ood"
        )


_drawing: RandomScenes


def _open(cell: str, size: int) -> None:
    """Makes a process ready to draw."""
    global _drawing
    from vga_policy.cell.loading import load_cell
    from vga_policy.cell.shipped import cell_path

    from vga_bringup.sim.random_scenes.random_scene import RandomScenes

    _drawing = RandomScenes(load_cell(cell_path(cell)), size)


def _draw_shard(seed: int, start: int, count: int, file: Path) -> Clearance:
    """Draws scenes `start`, `start` + 1, …; returns how near their cameras came to the unseen one."""
    from vga_policy.dataset.scenes import write_shard

    from vga_bringup.sim.scene.places import Clearance

    scenes, clearances = zip(*(_drawing.draw(seed, number) for number in range(start, start + count)), strict=True)
    write_shard(scenes, file)
    return Clearance(min(c.distance for c in clearances), min(c.angle for c in clearances))
