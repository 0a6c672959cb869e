"""The sub-command `vga eval robot`; what it needs is imported when it runs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from vga_policy.cli_options import add_cell, add_device, add_namespace, add_seed
from vga_policy.cli_types import between
from vga_policy.evaluate.trials import TRIALS
from vga_teleop.session.buttons import add_buttons

from vga_bringup.trials.commands import add_max_steps, add_tasks
from vga_bringup.trials.conditions import SEED, SEEN, UNSEEN

PAPER_TASKS = ("pick_cube", "press_button", "stack_cube")
MOST_STARTS = 1000


def robot_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga eval robot`."""
    parser = subparsers.add_parser(
        "robot",
        help="a blinded, randomized, locked study of policies on the robot",
        description="The paper's protocol (section 6, appendix F.2) as a study of fieldtrial's: policies under seen "
        "and unseen views, 20 trials of each task, in an order that is drawn, under codes that hide the arms. --create "
        "makes and locks it. Without options its trials run on the graph that is up, which has no policy of its own: "
        "each arm's is started here. Where the graph has a scene service, as the simulated cell, nobody is needed; "
        "else a person sets each scene by a ghost of the reference picture. The same command goes on after an "
        "interruption. Needs make setup PURPOSES=trials.",
        epilog="Exit status: 0 when all trials are done; 1 when something is in the way; 130 after Ctrl-C or q.",
    )
    parser.add_argument("study", type=Path, metavar="STUDY", help="The study's folder.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--create", action="store_true", help="Makes the study and locks it; runs nothing.")
    what.add_argument(
        "--take-references",
        action="store_true",
        help="Sets every start once and takes its picture, before the first trial. Default: its first trial does.",
    )
    what.add_argument("--report", action="store_true", help="Writes the reports; runs nothing.")
    _design(parser.add_argument_group("with --create"))
    parser.add_argument(
        "--unblind",
        action="store_true",
        help="Lets --report say which arm is which before all trials are done. The report tells so.",
    )
    parser.add_argument(
        "--no-record", action="store_false", dest="record", help="Records no episodes. Default: one a trial."
    )
    parser.add_argument(
        "--operator", default=os.environ.get("USER", ""), metavar="NAME", help="Who operates. Default: %(default)s."
    )
    add_device(parser)
    add_buttons(parser)
    add_namespace(parser)
    parser.set_defaults(run=_run)


def _design(group: argparse._ArgumentGroup) -> None:
    """What a new study is asked for."""
    group.add_argument(
        "--policies",
        nargs="+",
        default=[],
        metavar="[NAME=]CHECKPOINT",
        help="What is compared: directories of checkpoints or runs, names of shipped ones, or untrained. The name in "
        "tables is the directory's, unless it is given.",
    )
    group.add_argument(
        "--view",
        nargs="+",
        choices=(SEEN, UNSEEN),
        default=[SEEN, UNSEEN],
        help="Which cameras the policies see. id: the training's; ood: the other fixed camera in slot 0. Default: "
        "id ood.",
    )
    add_tasks(group, PAPER_TASKS, f"the paper's, {', '.join(PAPER_TASKS)}")
    group.add_argument(
        "--trials",
        type=between(1, MOST_STARTS, int),
        default=TRIALS,
        metavar="N",
        help=f"The number of trials of each task for each policy and view. Default: {TRIALS}.",
    )
    add_seed(group, "The seed of the first start; the others count on from it.", default=SEED)
    add_max_steps(group)
    add_cell(group, default="lab")


def _run(args: argparse.Namespace) -> int:
    from vga_bringup.study.command import run

    return run(args)
