"""`vga eval sim` and `vga eval ablation`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vga_policy.cell.schema import Strategy
from vga_policy.cli_options import (
    CHECKPOINT,
    add_cell,
    add_checkpoint,
    add_jobs,
    add_json,
    add_out,
    add_seed,
)
from vga_policy.cli_types import add_former_name, between
from vga_policy.evaluate.controls import CONTROLS
from vga_policy.evaluate.trials import MAX_STEPS, TRIALS
from vga_policy.names import TASK_NAMES
from vga_policy.plugins import TASK_HELP, task_name

from vga_bringup.trials.conditions import LATENCY, SEED, SEEN, UNSEEN
from vga_bringup.trials.options import EvalOptions, TrialOptions

MOST_TRIALS = 100_000
COUNT = between(1, MOST_TRIALS, int)
RESULTS = "The directory of the results; the same command goes on with trials that are missing there."


def sim_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga eval sim`."""
    parser = subparsers.add_parser(
        "sim",
        help="closed-loop trials in the simulated cell",
        description="Closed-loop trials in the simulated cell, as the paper runs them (section 6, appendix F.2): scene "
        "and arm pose drawn from each trial's seed, success by the physical state. Through the ROS graph in real time, "
        "or with --in-process in this program's own processes on simulated time. Writes results.json, trials.csv, "
        "table.{md,csv,png} and videos. Trials are kept as they end: the same command goes on after an interruption.",
    )
    add_checkpoint(parser, f"{CHECKPOINT} Or a yardstick: untrained is the floor, operator the ceiling.")
    _trial_options(parser)
    parser.add_argument(
        "--view",
        choices=(SEEN, UNSEEN),
        default=SEEN,
        help="Which cameras the policy sees. id: the training's; ood: the other fixed camera in slot 0. "
        f"Default: {SEEN}.",
    )
    parser.add_argument(
        "--in-process", action="store_true", help="Runs without ROS, on simulated time, several trials at once."
    )
    add_former_name(parser, "--fast", "--in-process")
    parser.add_argument(
        "--control",
        choices=CONTROLS,
        default="",
        help="What is kept from the policy, with --in-process. shuffled shows it another trial's images, of all "
        "cameras or of those in one role. Default: nothing.",
    )
    parser.add_argument(
        "--videos",
        type=between(0, MOST_TRIALS, int),
        default=TRIALS,
        metavar="N",
        help=f"The number of trials of each task that are filmed. Default: {TRIALS}.",
    )
    parser.add_argument(
        "--method", default="", metavar="NAME", help="The policy's name in tables. Default: its directory's."
    )
    parser.add_argument(
        "--run", default="", metavar="NAME", help="Which training of the method this is.", dest="training"
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="The interpreter that has LeRobot, for a checkpoint of its. Default: this one.",
    )
    add_out(parser, f"{RESULTS} Default: out/eval/METHOD-VIEW, with --run and --control where given.")
    parser.add_argument(
        "--overwrite", action="store_true", help="Runs the trials anew where there are results already."
    )
    add_json(parser)
    parser.set_defaults(run=_sim)


def ablation_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga eval ablation`."""
    parser = subparsers.add_parser(
        "ablation",
        help="every run of `vga ablate` in the same closed-loop trials",
        description="Tries every finished run of an ablation as `vga eval sim --in-process` does, on the same scenes, "
        "and compares the variants with VGA: paired, and over the training seeds. What was tried is not tried again. "
        "Writes results a run and table.{md,csv,png}.",
    )
    parser.add_argument("ablation", type=Path, metavar="DIR", help="What vga ablate was given as --out.")
    _trial_options(parser)
    parser.add_argument(
        "--view",
        nargs="+",
        choices=(SEEN, UNSEEN),
        default=[SEEN],
        help=f"Which cameras the policies see, as for vga eval sim. Default: {SEEN}.",
    )
    add_out(parser, f"{RESULTS} Default: DIR/trials.")
    parser.set_defaults(run=_ablation)


def add_tasks(parser: argparse._ActionsContainer, default: Sequence[str], told: str) -> None:
    """Adds --task, of several. told: the default in words."""
    parser.add_argument(
        "--task",
        nargs="+",
        type=task_name,
        default=list(default),
        metavar="TASK",
        help=f"The tasks: {TASK_HELP}. Default: {told}.",
    )


def add_max_steps(parser: argparse._ActionsContainer) -> None:
    """Adds --max-steps."""
    parser.add_argument(
        "--max-steps",
        type=COUNT,
        default=MAX_STEPS,
        metavar="STEPS",
        help="The most control steps of a trial, as long as the cell's control rate says: 0.1 s at 10 Hz. The paper "
        f"names 800 and 1200. Default: {MAX_STEPS}.",
    )


def _trial_options(parser: argparse.ArgumentParser) -> None:
    """What both commands' trials can be given."""
    add_tasks(parser, TASK_NAMES, "the first four")
    parser.add_argument(
        "--trials",
        type=COUNT,
        default=TRIALS,
        metavar="N",
        help=f"The number of trials of each task. Default: {TRIALS}.",
    )
    add_seed(parser, "The seed of the first trial; the others count on from it.", default=SEED)
    add_jobs(parser, "The number of processes, for trials in process.")
    parser.add_argument(
        "--strategy",
        choices=[str(strategy) for strategy in Strategy],
        default="",
        help="How chunks are executed. Default: the cell's.",
    )
    add_max_steps(parser)
    parser.add_argument(
        "--latency",
        type=between(0, 0.5, unit="s"),
        default=LATENCY,
        metavar="S",
        help=f"The seconds from image to chunk with --in-process. Default: {LATENCY}, the median that vga demo "
        "measures on two cores.",
    )
    add_cell(parser, default="sim")


def _sim(arguments: argparse.Namespace) -> int:
    from vga_bringup.trials.evaluation import run

    options = EvalOptions(
        checkpoint=arguments.checkpoint,
        trials=_trials(arguments),
        camera_set=arguments.view,
        in_process=arguments.in_process,
        control=arguments.control,
        videos=arguments.videos,
        method=arguments.method,
        training=arguments.training,
        python=arguments.python,
        out=arguments.out,
        overwrite=arguments.overwrite,
    )
    return run(options, as_json=arguments.json)


def _ablation(arguments: argparse.Namespace) -> int:
    from vga_bringup.trials.ablation import run

    return run(arguments.ablation, arguments.view, _trials(arguments), arguments.out)


def _trials(arguments: argparse.Namespace) -> TrialOptions:
    return TrialOptions(
        tasks=tuple(arguments.task),
        trials=arguments.trials,
        seed=arguments.seed,
        cell=arguments.cell,
        strategy=arguments.strategy,
        max_steps=arguments.max_steps,
        latency=arguments.latency,
        jobs=arguments.jobs,
    )
