"""`vga eval sim` and `vga eval ablation`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from vga_policy.cell.schema import Strategy
from vga_policy.cli_types import add_former_name, between, seed
from vga_policy.evaluate.controls import CONTROLS
from vga_policy.evaluate.trials import MAX_STEPS, TRIALS
from vga_policy.names import TASK_NAMES
from vga_policy.plugins import TASK_HELP, task_name

from vga_bringup.trials.conditions import LATENCY, SEED, SEEN, UNSEEN
from vga_bringup.trials.options import EvalOptions, TrialOptions

MOST_TRIALS = 100_000
COUNT = between(1, MOST_TRIALS, int)


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
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR",
        help="of the policy; or: nano (shipped), untrained (floor), operator (ceiling)",
    )
    _trial_options(parser)
    parser.add_argument(
        "--view", choices=(SEEN, UNSEEN), default=SEEN, help="id: the training's cameras; ood: the other fixed camera "
        "in slot 0 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--in-process", action="store_true", help="without ROS, on simulated time, several trials at once"
    )
    add_former_name(parser, "--fast", "--in-process")
    parser.add_argument(
        "--control", choices=CONTROLS, default="", help="what is kept from the policy: shuffled shows it another "
        "trial's images, of all cameras or of those in one role (with --in-process)",
    )  # fmt: skip
    parser.add_argument(
        "--videos",
        type=between(0, MOST_TRIALS, int),
        default=TRIALS,
        help="trials of each task filmed (default: %(default)s)",
    )
    parser.add_argument("--method", default="", help="name in tables (default: the checkpoint's)")
    parser.add_argument(
        "--run", default="", metavar="NAME", help="which training of the method this is", dest="training"
    )
    parser.add_argument(
        "--python", default=sys.executable, metavar="PATH", help="interpreter that has LeRobot, for a checkpoint of its"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: out/eval/METHOD-VIEW, with --run and --control where given"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
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
    parser.add_argument("ablation", type=Path, metavar="DIR", help="--out of `vga ablate`")
    _trial_options(parser)
    parser.add_argument(
        "--view", nargs="+", choices=(SEEN, UNSEEN), default=[SEEN], help="as in `vga eval sim` (default: id)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: DIR/trials")
    parser.set_defaults(run=_ablation)


def _trial_options(parser: argparse.ArgumentParser) -> None:
    """What both commands' trials can be given."""
    parser.add_argument(
        "--task",
        nargs="+",
        type=task_name,
        default=list(TASK_NAMES),
        metavar="TASK",
        help=f"{TASK_HELP} (default: vga's)",
    )
    parser.add_argument("--trials", type=COUNT, default=TRIALS, help="of each task (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=SEED, help="of the first trial (default: %(default)s)")
    parser.add_argument(
        "--jobs", type=COUNT, default=os.cpu_count(), help="processes of --in-process (default: one a core)"
    )
    parser.add_argument(
        "--strategy", choices=[str(strategy) for strategy in Strategy], default="",
        help="how chunks are executed (default: the cell's)",
    )  # fmt: skip
    parser.add_argument(
        "--max-steps", type=COUNT, default=MAX_STEPS, help="control steps of 0.1 s a trial may take; the paper names "
        "800 and 1200 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--latency",
        type=between(0, 0.5, unit="s"),
        default=LATENCY,
        help="s from image to chunk with --in-process; default: %(default)s, the median that vga demo measures on two "
        "cores",
    )
    parser.add_argument("--cell", default="sim", help="cell file, or the name of a shipped one")


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
