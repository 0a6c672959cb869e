"""The commands that vga_bringup adds to `vga`. What they run is imported when they run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from vga_policy.cli_types import between, share
from vga_policy.plugins import TASK_HELP, task_name

from vga_bringup.graph.spec import OPTIONS, options, sim_graph, to_text
from vga_bringup.trials.conditions import SEED


def sim(subparsers: argparse._SubParsersAction) -> None:
    """`vga sim`: the simulated graph, until Ctrl-C."""
    parser = subparsers.add_parser("sim", help="bring the simulated graph up and keep it until Ctrl-C")
    for name, default in options(sim_graph).items():
        kind = task_name if name == "task" else str
        what = f"{OPTIONS[name]} (default: %(default)r)"
        parser.add_argument(f"--{name}", type=kind, default=to_text(default), help=what)
    parser.set_defaults(run=_later("cli.sim"))


def run(subparsers: argparse._SubParsersAction) -> None:
    """`vga run`: one task, from arming the driver to its end."""
    parser = subparsers.add_parser("run", help="arm the driver and run the policy on one instruction; Ctrl-C cancels")
    parser.add_argument("instruction", help='what to do, e.g. "pick up the red cube"')
    parser.add_argument(
        "--max-steps", type=between(0, 2**32 - 1, int), default=0, help="steps until the task ends (default: no limit)"
    )
    parser.set_defaults(run=_later("cli.run"))


def home(subparsers: argparse._SubParsersAction) -> None:
    """`vga home`."""
    parser = subparsers.add_parser("home", help="move the arm home, from HOLD; Ctrl-C stops it")
    parser.add_argument(
        "--speed", type=share, default=0.0, metavar="SHARE", help="of the cell's speed (default: its homing speed)"
    )
    parser.add_argument(
        "--position", type=float, nargs=7, default=(), metavar="RAD", help="to these joint angles instead"
    )
    parser.add_argument("--open", action="store_true", help="open the hand first (default: it keeps what it holds)")
    parser.set_defaults(run=_later("cli.arm", "home"))


def recover(subparsers: argparse._SubParsersAction) -> None:
    """`vga recover`."""
    parser = subparsers.add_parser("recover", help="clear a reflex or rebuild the connection; the arm stays in HOLD")
    parser.set_defaults(run=_later("cli.arm", "recover"))


def stop(subparsers: argparse._SubParsersAction) -> None:
    """`vga stop`."""
    parser = subparsers.add_parser("stop", help="bring the arm to rest in HOLD; the user stop is faster")
    parser.set_defaults(run=_later("cli.arm", "stop"))


def demo(subparsers: argparse._SubParsersAction) -> None:
    """`vga demo`: the simulated graph, one recorded task, and a report made from the recording."""
    parser = subparsers.add_parser("demo", help="run one task on the simulated cell, record it and report on it")
    parser.add_argument(
        "--duration",
        type=between(1, 3600),
        default=30.0,
        help="seconds of motion, or the most a --task may take (%(default)s)",
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="for the results (default: %(default)s)")
    parser.add_argument("--cell", default="sim", help=OPTIONS["cell"])
    parser.add_argument("--checkpoint", default="nano", help=f"{OPTIONS['checkpoint']} (default: %(default)s)")
    parser.add_argument("--instruction", default="pick up the red cube", help="what to do (default: %(default)r)")
    parser.add_argument(
        "--task", type=task_name, default="", help=f"arrange this task's scene, judge the outcome: {TASK_HELP}"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the task's scene (default: %(default)s)")
    parser.set_defaults(run=_later("demo.demo"))


def _later(module: str, function: str = "run") -> Callable[[argparse.Namespace], int]:
    return lambda args: getattr(import_module(f"vga_bringup.{module}"), function)(args)
