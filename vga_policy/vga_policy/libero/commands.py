"""`vga libero …` and `vga eval libero`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import zlib
from functools import partial
from pathlib import Path

from vga_policy.cli_options import CHECKPOINT, add_device, add_json, add_out, add_results, add_seed, add_threads
from vga_policy.cli_types import between, positive
from vga_policy.plugins import LIBERO_POLICIES, libero_policy_name

Subparsers = argparse._SubParsersAction

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")  # as vga_policy.libero.tasks has them
CONTROLS = ("zero", "no-instruction", "no-wrist", "shuffled")


def collect_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga libero collect`."""
    parser = subparsers.add_parser(
        "collect",
        help="demonstrations by a scripted expert",
        description="Demonstrations of LIBERO's tasks by a scripted expert, which acts as people did: with the "
        "benchmark's own actions, at another pace and on another way each time. Scenes are drawn from the tasks' own "
        "distributions and are none of the evaluation's. What fails is dropped and counted. Writes one HDF5 file a "
        "task in LIBERO's layout, with states and actions but no pictures: `vga libero import` renders them. The same "
        "call again goes on where it was interrupted. Needs make setup PURPOSES=libero.",
    )
    _add_tasks(parser)
    parser.add_argument(
        "--policy",
        default="",
        metavar="CHECKPOINT",
        help="Corrections: this policy acts first, and after a number of steps drawn at random, up to half of a "
        "trial's, the expert takes over. Only what the expert does is written. When the policy has succeeded by then, "
        "the attempt is dropped. Wants an --out of its own.",
    )
    parser.add_argument(
        "--episodes", type=positive, default=50, metavar="N", help="The number of episodes of each task. Default: 50."
    )
    add_seed(parser, "The seed of everything that is drawn at random.")
    _add_jobs(parser)
    add_out(parser, "The directory of what is written.", default="out/libero")
    parser.set_defaults(run=_collect)


def import_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga libero import`."""
    parser = subparsers.add_parser(
        "import",
        help="renders demonstrations, LIBERO's own or collected ones, for training",
        description="Renders demonstrations in LIBERO's HDF5 layout again from their states: pictures the right way up "
        "with depth, intrinsics and extrinsics of both cameras, proprioception (8) and actions (7). Pictures in the "
        "file are not used: they are small, upside down and one step late. Fixtures stand where `model_file` has them. "
        "Steps in which nothing happens are left out, as OpenVLA did, and so is what does not end with success. Writes "
        "a directory a suite, which `vga train --data` reads. It can be deleted and made again; the same call again "
        "renders what is missing. A fault is told in one line with file and demonstration; the rest goes on. Exit "
        "status 1 says that something was left out. Needs make setup PURPOSES=libero.",
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="A file …_demo.hdf5, or a directory of such."
    )
    parser.add_argument(
        "--image-size",
        type=between(16, 1024, int),
        default=224,
        metavar="PIXELS",
        help="The side of the images, in pixels. Default: 224.",
    )
    parser.add_argument(
        "--mirrored", action="store_true", help="Left for right, cameras too: as published checkpoints were trained."
    )
    parser.add_argument("--keep-no-ops", action="store_true", help="Keeps steps in which nothing happens as well.")
    parser.add_argument(
        "--every",
        type=positive,
        default=1,
        metavar="N",
        help="Draws the first of every N steps only: N times as many demonstrations in the same time. Actions stay "
        "those of all steps. Default: 1.",
    )
    _add_jobs(parser)
    add_out(parser, "The directory of what is written.", default="out/libero_rendered")
    parser.set_defaults(run=_import)


def table_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga libero table`."""
    parser = subparsers.add_parser(
        "table",
        help="results of trials side by side, as the paper's Table 1",
        description="Results of `vga eval libero` side by side, a row a policy and a column a suite, beside the "
        "paper's own row, with intervals of the differences on equal trials. Results of one policy are one row. "
        "Writes table.md, table.csv and table.png.",
    )
    add_results(parser)
    add_out(parser, "The directory of what is written.", default="out/libero_table")
    parser.set_defaults(run=_table)


def eval_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga eval libero`."""
    parser = subparsers.add_parser(
        "libero",
        help="trials in the LIBERO benchmark",
        description="Trials by LIBERO's published protocol: trial k starts from the task's initial state k, after 10 "
        "steps in which the scene settles; it is given up after 220 (Spatial), 280 (Object), 300 (Goal) or 520 (Long, "
        "libero_10) steps of 1/20 s. The environment is seeded once a task and reset once a trial, in order. Writes "
        "results.json; the same call again goes on where it was interrupted. Needs make setup PURPOSES=libero.",
    )
    _add_tasks(parser)
    parser.add_argument(
        "--trials",
        type=between(1, 50, int),
        metavar="N",
        help="The number of trials of each task. Default: 50.",
    )
    parser.add_argument("--checkpoint", default="", metavar="CHECKPOINT", help=CHECKPOINT)
    parser.add_argument(
        "--policy",
        type=libero_policy_name,
        default="",
        metavar="FILE",
        help="Somebody else's policy: a Python file that defines POLICY, or the name of an installed one.",
    )
    parser.add_argument(
        "--oracle", action="store_true", help="The scripted expert acts, which knows the simulator's state."
    )
    parser.add_argument(
        "--control",
        choices=CONTROLS,
        default="",
        help="What is kept from the policy. no-instruction tells it nothing, no-wrist shows it black in place of the "
        "wrist's picture, shuffled shows it another trial's pictures; zero acts instead of it, and nothing moves.",
    )
    parser.add_argument(
        "--plus",
        choices=("camera", "matched"),
        help="Other trials. camera: LIBERO-Plus' 1,599 camera variants, each once; matched: what they are compared "
        "with, initial state 0 of each task with the benchmark's own camera, and fixtures as ten seeds have them; "
        "without fixtures, as in Object, one trial.",
    )
    parser.add_argument(
        "--videos",
        type=between(0, 50, int),
        default=0,
        metavar="N",
        help="The number of trials of each task that are filmed. Default: 0.",
    )
    parser.add_argument("--execute", type=positive, default=8, metavar="N", help="The actions of a chunk. Default: 8.")
    add_seed(parser, "The seed of the environment.")
    parser.add_argument(
        "--hard-resets", action="store_true", help="Builds the model anew each time, to the same effect."
    )
    add_device(parser)
    add_threads(parser, default=1)
    _add_jobs(parser)
    add_out(parser, "The directory of what is written.", default="out/eval_libero")
    add_json(parser)
    parser.set_defaults(run=_eval)


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="The number of processes. Default: 1.")


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--suite", nargs="+", choices=SUITES, default=list(SUITES), help="The suites. Default: all four."
    )
    parser.add_argument(
        "--task",
        nargs="+",
        type=between(0, 9, int),
        default=[],
        metavar="TASK",
        help="The tasks' numbers. Default: all ten.",
    )


def _collect(arguments: argparse.Namespace) -> int:
    if problem := _other_graphics():
        print(f"vga libero collect: {problem}", file=sys.stderr)
        return 1
    from vga_policy.libero.cameras import require_graphics
    from vga_policy.libero.collecting import Order, beginner, collect
    from vga_policy.libero.errors import LiberoError
    from vga_policy.libero.tasks import tasks

    try:
        chosen = [task for suite in dict.fromkeys(arguments.suite) for task in tasks(suite)]
        orders = [
            Order(task, arguments.episodes, arguments.seed, arguments.out, arguments.policy)
            for task in chosen
            if not arguments.task or task.index in arguments.task
        ]
        if arguments.policy:
            require_graphics()
            beginner(arguments.policy)  # what cannot be used is refused once, not in every process
        problems = collect(orders, arguments.jobs, _tell)
    except (LiberoError, OSError) as error:
        print(f"vga libero collect: {error}", file=sys.stderr)
        return 1
    return 1 if problems else 0


def _import(arguments: argparse.Namespace) -> int:
    if problem := _other_graphics():
        print(f"vga libero import: {problem}", file=sys.stderr)
        return 1
    from vga_policy.libero.cameras import require_graphics
    from vga_policy.libero.demonstrations import demonstration_files
    from vga_policy.libero.errors import LiberoError
    from vga_policy.libero.rendering import Rendering, render_files

    files = list(demonstration_files(arguments.files))
    if not files:
        print(f"vga libero import: no …_demo.hdf5 in {', '.join(map(str, arguments.files))}", file=sys.stderr)
        return 1
    how = Rendering(arguments.out, arguments.image_size, arguments.mirrored, arguments.keep_no_ops, arguments.every)
    try:
        require_graphics()
        demonstrations, problems = render_files(files, how, arguments.jobs, _tell)
    except (LiberoError, OSError) as error:
        print(f"vga libero import: {error}", file=sys.stderr)
        return 1
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    print(f"{arguments.out}: {demonstrations} demonstrations")
    return 1 if problems else 0


def _table(arguments: argparse.Namespace) -> int:
    from vga_policy.evaluate.tables import files, text
    from vga_policy.libero.errors import LiberoError
    from vga_policy.libero.tables import compare

    try:
        made = compare(arguments.results, arguments.reference)
        files.save(made, arguments.out)
    except (LiberoError, OSError) as error:
        print(f"vga libero table: {error}", file=sys.stderr)
        return 1
    print(text.markdown(made), end="")
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _eval(arguments: argparse.Namespace) -> int:
    if problem := _who_acts(arguments):
        print(f"vga eval libero: {problem}", file=sys.stderr)
        return 2
    if problem := _other_graphics():
        print(f"vga eval libero: {problem}", file=sys.stderr)
        return 1
    from vga_policy.files import write_atomically
    from vga_policy.libero import evaluation
    from vga_policy.libero.actors import actors
    from vga_policy.libero.cameras import require_graphics
    from vga_policy.libero.errors import LiberoError

    policy, weights = "oracle" if arguments.oracle else "zero", ""
    if arguments.checkpoint:
        from vga_policy.checkpoints import locate
        from vga_policy.checkpoints.checkpoint import digest

        policy, weights = evaluation.TRAINED, digest(locate(arguments.checkpoint))
    elif arguments.policy:
        file = Path(LIBERO_POLICIES.whose(arguments.policy))
        policy, weights = evaluation.ADDED, f"{zlib.crc32(file.read_bytes()):08x}" if file.is_file() else ""
    conditions = evaluation.LiberoConditions(
        policy=policy,
        checkpoint=arguments.checkpoint or arguments.policy,
        weights=weights,
        control=arguments.control,
        execute=arguments.execute,
        seed=arguments.seed,
        hard_resets=arguments.hard_resets,
        plus=arguments.plus or "",
    )
    try:
        kinds = {"camera": evaluation.plus_camera, "matched": evaluation.plus_matched}
        trials = arguments.trials or evaluation.EVALUATION_STATES
        cases = kinds[arguments.plus] if arguments.plus else evaluation.published(trials)
        jobs = evaluation.jobs_of(arguments.suite, arguments.task, cases, conditions, arguments.out, arguments.videos)
        make = partial(actors, device=arguments.device, threads=arguments.threads)
        if conditions.checkpoint or arguments.videos:
            require_graphics()
        problems = evaluation.evaluate(jobs, make, arguments.jobs, _tell)
    except (LiberoError, OSError) as error:
        print(f"vga eval libero: {error}", file=sys.stderr)
        return 1
    results = evaluation.summary(jobs)
    text = json.dumps(results, indent=2)
    write_atomically(arguments.out / evaluation.RESULTS, text + "\n")
    print(text if arguments.json else "\n".join(evaluation.table(results)))
    return 1 if problems else 0


def _other_graphics() -> str:
    """What is wrong with how the simulator was told to draw, in words: with some it cannot even be imported."""
    told = os.environ.get("MUJOCO_GL", "")
    return (
        ""
        if told.lower() in ("", "egl")
        else f"MUJOCO_GL is {told}, and must be egl or unset: LIBERO is drawn with EGL"
    )


def _who_acts(arguments: argparse.Namespace) -> str:
    """What is wrong with who is to act, in words; empty when nothing is."""
    zero = arguments.control == "zero"
    policy = bool(arguments.checkpoint) + bool(arguments.policy)
    if policy + arguments.oracle + zero != 1:
        return "say what is to act: one of --checkpoint CHECKPOINT, --policy FILE, --oracle and --control zero"
    if arguments.control and not zero and not policy:
        return f"--control {arguments.control} keeps something from a policy: give its --checkpoint"
    if arguments.plus and (arguments.trials is not None or arguments.seed):
        return f"--plus {arguments.plus} has trials and seeds of its own: leave out --trials and --seed"
    return ""
