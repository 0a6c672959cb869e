"""`vga collect`: demonstrations by the scripted operator. What it runs is imported when it runs."""

from __future__ import annotations

import argparse
import sys
import time

from vga_policy.cli_options import add_cell, add_jobs, add_out, add_seed
from vga_policy.cli_types import above_zero, add_former_name, positive
from vga_policy.message_constants import SUCCESS
from vga_policy.plugins import TASK_HELP, TASKS, PluginError


def collect_command(subparsers: argparse._SubParsersAction) -> None:
    """`vga collect --task T --episodes N --out DIR`."""
    parser = subparsers.add_parser(
        "collect", help="record demonstrations of a task, done by the scripted operator in the simulated cell"
    )
    parser.add_argument("--task", required=True, metavar="TASK", help=f"The task: {TASK_HELP}.")
    parser.add_argument("--episodes", type=positive, required=True, metavar="N", help="The number of episodes.")
    add_out(parser, "The directory of the episodes.", required=True)
    add_cell(parser, default="sim")
    add_seed(parser, "The seed of the first episode; the others count on from it.")
    group = parser.add_argument_group("without ROS and faster than real time")
    group.add_argument(
        "--in-process", action="store_true", help="The same scene, operator and schema, in plain processes."
    )
    add_former_name(group, "--fast", "--in-process")
    add_jobs(group)
    group.add_argument("--perturb", action="store_true", help="Odd starts, bad aim and pushes, to recover from.")
    group.add_argument(
        "--policy",
        metavar="CHECKPOINT",
        default="",
        help="This policy acts, and the scripted operator takes over where it closes the hand on nothing or takes too "
        "long: episodes with corrections. Default: demonstrations.",
    )
    group.add_argument(
        "--random-cameras", action="store_true", help="Puts the fixed cameras elsewhere every half a second."
    )
    group.add_argument("--no-depth", action="store_true", help="Leaves depth and camera poses out.")
    group.add_argument(
        "--images-for",
        type=above_zero,
        metavar="S",
        help="Records images of the first S seconds only: many cheap beginnings, in which it is decided what the "
        "instruction means.",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        arguments.task = TASKS.named(arguments.task)
    except PluginError as error:
        print(f"vga collect: {error}", file=sys.stderr)
        return 2
    return run_in_process(arguments) if arguments.in_process else run_live(arguments)


def run_live(arguments: argparse.Namespace) -> int:
    """Collects through the ROS graph, in real time; exit status 0 when every episode was recorded."""
    from vga_policy.ros.errors import GraphError
    from vga_teleop.session.commands import summary
    from vga_teleop.session.workflow import Refused

    from vga_bringup.collect.live import collect_live
    from vga_bringup.sim.scene.task import TaskError
    from vga_bringup.sim.tasks.registry import arrange

    if arguments.perturb or arguments.random_cameras or arguments.images_for or arguments.policy:
        print("vga collect: --perturb, --policy, --random-cameras and --images-for need --in-process", file=sys.stderr)
        return 2
    try:
        arrange(arguments.task, arguments.seed)
        taken = collect_live(
            arguments.task, arguments.episodes, arguments.out.absolute(), arguments.seed, arguments.cell, _say
        )
    except (TaskError, GraphError, Refused, OSError) as error:
        print(f"vga collect: {error}", file=sys.stderr)
        return 2 if isinstance(error, TaskError) else 1
    print(summary(taken))
    return 0 if len(taken) == arguments.episodes else 130


def _say(text: str) -> None:
    print(text, flush=True)


def run_in_process(arguments: argparse.Namespace) -> int:
    """Collects without ROS; exit status 0 when every episode succeeded or failed in an orderly way."""
    from rich.progress import track
    from vga_policy.cell.loading import load_cell
    from vga_policy.cell.shipped import cell_path

    from vga_bringup.collect.in_process import CollectError, CollectRequest, collect
    from vga_bringup.sim.scene.task import TaskError
    from vga_bringup.sim.tasks.registry import arrange

    request = CollectRequest(
        cell=load_cell(cell_path(arguments.cell)),
        task=arguments.task,
        episodes=arguments.episodes,
        directory=arguments.out,
        seed=arguments.seed,
        depth=not arguments.no_depth,
        perturb=arguments.perturb,
        random_cameras=arguments.random_cameras,
        images_for=arguments.images_for,
        policy=arguments.policy,
    )
    if request.policy and (request.perturb or request.random_cameras):
        print("vga collect: --policy goes with neither --perturb nor --random-cameras", file=sys.stderr)
        return 2
    began = time.monotonic()
    collected = []
    try:
        arrange(request.task, request.seed)
        for episode in track(collect(request, arguments.jobs), "collecting", total=request.episodes):
            collected.append(episode)
    except (TaskError, CollectError) as error:
        print(f"vga collect: {error}", file=sys.stderr)
        return 2
    finally:
        if collected:
            elapsed, simulated = time.monotonic() - began, sum(episode.seconds for episode in collected)
            failures = sorted(episode.path.name for episode in collected if episode.outcome != SUCCESS)
            print(f"{len(collected)} episodes in {request.directory}, {len(collected) - len(failures)} successful")
            print(f"{simulated:.1f} s of demonstration in {elapsed:.1f} s: {simulated / elapsed:.2f} x real time")
            if failures:
                print(f"failed: {', '.join(failures)}")
    return 0
