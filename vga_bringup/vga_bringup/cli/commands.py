"""The commands that vga_bringup adds to `vga`. What they run is imported when they run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any

from vga_policy.cli_options import CHECKPOINT, JoinedNames, add_cell, add_checkpoint, add_namespace, add_out, add_seed
from vga_policy.cli_types import add_former_name, between, device, instruction, seed, share
from vga_policy.message_constants import OUTCOMES
from vga_policy.plugins import TASK_HELP, task_name
from vga_teleop.session.buttons import add_buttons

from vga_bringup.cli.options import FIRST_TASK
from vga_bringup.graph.spec import OPTIONS, options, sim_graph, to_text
from vga_bringup.trials.conditions import SEED

ASK, NONE = "ask", "none"  # how an episode gets its label, beside being told it
STATUS = "Exit status: 0 when it is done; 1 when it is refused, or nobody answers; 130 after Ctrl-C."
SIM_FLAGS = {"episodes": "--out"}  # of options that the graph's launch files call otherwise
KINDS: dict[str, dict[str, Any]] = {
    "device": {"type": device},
    "views": {"nargs": "+", "action": JoinedNames},
    "task": {"type": task_name},
}
METAVARS = {
    "cell": "CELL",
    "checkpoint": "CHECKPOINT",
    "device": "DEVICE",
    "moved": "CAMERAS",
    "episodes": "DIR",
    "namespace": "NAME",
    "task": "TASK",
    "views": "CAMERA",
}


def sim(subparsers: argparse._SubParsersAction) -> None:
    """`vga sim`: the simulated graph, until Ctrl-C."""
    parser = subparsers.add_parser(
        "sim",
        help="bring the simulated graph up and keep it until Ctrl-C",
        description="Runs cell, cameras, driver and whatever else is asked for, and says when all of that is ready and "
        "what to do next in another shell. With a policy it arranges a first scene; `vga arrange` draws others.",
        epilog="Exit status: 0 after Ctrl-C; 2 if a node refuses what it was given; 1 if every node has ended.",
    )
    for name, default in options(sim_graph).items():
        flag, told = SIM_FLAGS.get(name, f"--{name}"), f"{OPTIONS[name]} Default: {to_text(default) or 'empty'}."
        kind = KINDS.get(name, {})
        parser.add_argument(flag, dest=name, default=to_text(default), metavar=METAVARS.get(name), help=told, **kind)
    add_former_name(parser, "--episodes", "--out")
    parser.set_defaults(run=_later("cli.sim"))


def run(subparsers: argparse._SubParsersAction) -> None:
    """`vga run`: one task, from arming the driver to its end."""
    parser = subparsers.add_parser(
        "run",
        help="arm the driver and run the policy on one instruction; Ctrl-C cancels",
        description="Runs until the step limit, Ctrl-C, or until something tells that the task is done: the "
        "simulated cell, of the scene that was arranged for this instruction, or the success_topic of --cell. Shows "
        "steps, and what becomes of the chunks; the last line counts those that the driver refused, by reason. On a "
        "terminal, or with --buttons, t takes over with the leader and hands back, and Escape stops the arm.",
        epilog="Exit status: 0 when the task came to its end, done or not; 1 when it was refused, the driver went to "
        "HOLD, or no chunk was executed; 130 after Ctrl-C.",
    )
    parser.add_argument(
        "instruction", type=instruction, metavar="INSTRUCTION", help='What to do, as in "pick up the red cube".'
    )
    parser.add_argument(
        "--max-steps",
        type=between(0, 2**32 - 1, int),
        default=0,
        metavar="STEPS",
        help="The most control steps, as long as the cell's control rate says: 0.1 s at 10 Hz. Default: no limit.",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="Records the task as an episode, by the recorder that the graph has where it was launched with record.",
    )
    parser.add_argument(
        "--task",
        default="",
        metavar="TASK",
        help="The episode's short name of the task. Default: made of the instruction.",
    )
    parser.add_argument(
        "--label",
        choices=(*OUTCOMES, ASK, NONE),
        default=ASK,
        help="The label of the recorded episode. ask: the verdict of the simulated cell or of the success_topic, else "
        "yours, where you are at a terminal. none: left open. Default: ask.",
    )
    add_cell(parser, "The cell file whose success_topic ends the task. Default: none.")
    add_buttons(parser)
    add_namespace(parser)
    parser.set_defaults(run=_later("cli.run"))


def arrange(subparsers: argparse._SubParsersAction) -> None:
    """`vga arrange`."""
    parser = subparsers.add_parser(
        "arrange",
        help="a new scene in the running simulated cell, drawn from a seed",
        description="Opens the hand, sets the objects of one trial of a task, and moves the arm to the trial's start. "
        "From then on the cell judges that trial. Without options: the next scene of the present task.",
        epilog="Exit status: 0; 1 when it is refused; 130 after Ctrl-C.",
    )
    task = f"The task. Default: that of the present scene, else {FIRST_TASK}."
    parser.add_argument("--task", type=task_name, metavar="TASK", help=task)
    parser.add_argument(
        "--seed",
        type=seed,
        metavar="N",
        help="The seed of the scene. Default: one more than the present scene's, else 0.",
    )
    add_namespace(parser)
    parser.set_defaults(run=_later("cli.arrange"))


def leader(subparsers: argparse._SubParsersAction) -> None:
    """`vga leader`: the simulated leader by the keys of the terminal."""
    parser = subparsers.add_parser(
        "leader",
        help="move the simulated leader by the keys of this terminal",
        description="Moves the simulated leader by the keys of this terminal, in place of the scripted operator, while "
        "`vga sim` or record.launch.py runs with a leader. The arm follows it as it follows a real one.",
        epilog="Exit status: 0; 1 when there is no simulated leader.",
    )
    add_cell(parser, default="sim")
    add_namespace(parser)
    parser.set_defaults(run=_later("cli.leader"))


def home(subparsers: argparse._SubParsersAction) -> None:
    """`vga home`."""
    parser = subparsers.add_parser("home", help="move the arm home, from HOLD; Ctrl-C stops it", epilog=STATUS)
    parser.add_argument(
        "--speed",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="A share of the cell's speed. Default: its homing speed.",
    )
    parser.add_argument(
        "--position",
        type=float,
        nargs=7,
        default=(),
        metavar="RAD",
        help="The joint angles to move to. Default: the cell's home.",
    )
    parser.add_argument(
        "--open", action="store_true", help="Opens the hand first. Without it the hand keeps what it holds."
    )
    add_namespace(parser)
    parser.set_defaults(run=_later("cli.arm", "home"))


def recover(subparsers: argparse._SubParsersAction) -> None:
    """`vga recover`."""
    parser = subparsers.add_parser(
        "recover", help="clear a reflex or rebuild the connection; the arm stays in HOLD", epilog=STATUS
    )
    add_namespace(parser)
    parser.set_defaults(run=_later("cli.arm", "recover"))


def stop(subparsers: argparse._SubParsersAction) -> None:
    """`vga stop`."""
    parser = subparsers.add_parser("stop", help="bring the arm to rest in HOLD; the user stop is faster", epilog=STATUS)
    add_namespace(parser)
    parser.set_defaults(run=_later("cli.arm", "stop"))


def demo(subparsers: argparse._SubParsersAction) -> None:
    """`vga demo`: the simulated graph, one recorded task, and a report made from the recording."""
    parser = subparsers.add_parser("demo", help="run one task on the simulated cell, record it and report on it")
    parser.add_argument(
        "--duration",
        type=between(1, 3600),
        default=30.0,
        metavar="S",
        help="The seconds of motion, or the most that a --task may take. Default: %(default)s.",
    )
    add_out(parser, "The directory of the results.", default="out/demo")
    add_cell(parser, default="sim")
    add_checkpoint(parser, f"{CHECKPOINT} Or untrained.", default="nano")
    parser.add_argument(
        "--instruction",
        type=instruction,
        default="pick up the red cube",
        metavar="INSTRUCTION",
        help="What to do. Default: %(default)r.",
    )
    parser.add_argument(
        "--task",
        type=task_name,
        default="",
        metavar="TASK",
        help=f"The task whose scene is arranged, and whose outcome is judged: {TASK_HELP}.",
    )
    add_seed(parser, "The seed of the task's scene.", default=SEED)
    add_namespace(parser)
    parser.set_defaults(run=_later("demo.demo"))


def _later(module: str, function: str = "run") -> Callable[[argparse.Namespace], int]:
    return lambda args: getattr(import_module(f"vga_bringup.{module}"), function)(args)
