"""`python -m vga_bringup.judge`: drives our driver on an independent simulator of the FR3 and counts its errors."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from vga_policy.cell.loading import load_cell

from vga_bringup.judge.plot import draw
from vga_bringup.judge.report import MAX_LOST, kept, report
from vga_bringup.judge.robot.control import franky_limits
from vga_bringup.judge.robot.model import write_model
from vga_bringup.judge.robot.process import JudgeError, JudgingRobot, find_interpreter
from vga_bringup.judge.robot.server import NICENESS
from vga_bringup.judge.scenarios import SCENARIOS
from vga_bringup.judge.session import Conditions, Outcome, Session, run
from vga_bringup.robot.arm import franky_robot
from vga_bringup.sim.physics.children import claim_processor

CELLS = Path(__file__).parents[2] / "config" / "cells"
ADDRESS = "127.0.0.9"  # not that of the simulated cell: both may run
SEED = 1
ATTEMPTS = 3  # at a scenario that loses too many cycles
MINUTES, QUICK_MINUTES = 38.0, 3.7  # in which a run ends, repeats included
QUICK = 0.4  # of the scenarios' full length
ENFORCED = ("home", "fast_sine", "random", "ends", "stops", "teleop")
SOME = ("home", "fast_sine", "random", "teleop", "hold_up")

log = logging.getLogger("judge")


def plan(quick: bool) -> list[Session]:
    """The sessions of a run: full, or quick, which is one cell in velocity mode."""
    everything = tuple(SCENARIOS)
    if quick:
        return [
            Session("lab", "velocity", 1.0, everything),
            Session("lab", "velocity", 0.5, ("home", "random"), enforce=True),
        ]
    return [
        *(Session(cell, "velocity", speed, everything) for cell in ("lab", "sim") for speed in (0.5, 1.0)),
        Session("lab", "impedance", 1.0, everything),
        Session("lab", "impedance", 0.5, SOME),
        Session("sim", "impedance", 1.0, SOME),
        Session("sim", "impedance", 0.5, SOME),
        Session("lab", "velocity", 0.5, ENFORCED, enforce=True),
        Session("lab", "impedance", 0.5, (*ENFORCED, "hold_up"), enforce=True),
    ]


def chosen(arguments: argparse.Namespace) -> list[Session]:
    """The sessions asked for: those of the plan, or every combination of what is named."""
    sessions = plan(arguments.quick)
    if arguments.cell or arguments.tracking or arguments.speed:
        sessions = [
            Session(cell, tracking, speed, tuple(SCENARIOS), arguments.enforce)
            for cell in arguments.cell or ["lab"]
            for tracking in arguments.tracking or ["velocity"]
            for speed in arguments.speed or [1.0]
        ]
    elif arguments.enforce:
        sessions = [session for session in sessions if session.enforce]
    if arguments.control:  # about the limits of velocity mode
        sessions = [session for session in sessions if session.tracking == "velocity" and not session.enforce]
    if arguments.scenario:
        sessions = [session.only(arguments.scenario) for session in sessions]
    return sessions


def judged(sessions: Sequence[Session], conditions: Conditions, until: float) -> list[Outcome]:
    """Every session; scenarios that lost too many cycles again, as far as that ends before `until` (s, monotonic)."""
    outcomes: list[Outcome] = []
    for attempt in range(1, ATTEMPTS + 1):
        for session in sessions:
            for outcome in run(session, conditions, attempt):
                judgement = outcome.judgement
                log.info(
                    "%s %s: %d commands, %.2f %% lost, errors %s, after lost commands %s, %.0f s",
                    session.name, outcome.scenario, judgement.commands, 100 * judgement.lost_share,
                    dict(judgement.errors_clean) or "none", dict(judgement.errors_lossy) or "none", outcome.seconds,
                )  # fmt: skip
                outcomes.append(outcome)
        sessions = again(sessions, outcomes, until - time.monotonic())
    return outcomes


def again(sessions: Sequence[Session], outcomes: Sequence[Outcome], seconds: float) -> list[Session]:
    """What lost too many cycles, as much of it as fits into so many seconds."""
    lossy: dict[str, list[str]] = {}
    for outcome in kept(outcomes):
        seconds -= outcome.seconds if outcome.judgement.lost_share > MAX_LOST else 0.0
        if outcome.judgement.lost_share > MAX_LOST and seconds > 0:
            lossy.setdefault(outcome.session.name, []).append(outcome.scenario)
    return [session.only(lossy[session.name]) for session in sessions if session.name in lossy]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the judge; 0 when the driver passes."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    log.setLevel(logging.INFO)
    claim_processor(NICENESS)
    began = time.monotonic()
    sessions = chosen(options)
    folder = options.out / "records"
    folder.mkdir(parents=True, exist_ok=True)
    model = (folder / "fr3.xml").absolute()
    write_model(model)
    cells = {session.cell: load_cell(CELLS / f"{session.cell}.yaml") for session in sessions}
    factory = franky_limits if options.control else franky_robot
    try:
        if options.serve:
            return serve(options.address, model, folder / "served.npz")
        conditions = Conditions(
            cells, find_interpreter(), options.address, model, factory, options.seed,
            QUICK if options.quick else 1.0, folder,
        )  # fmt: skip
        minutes = (QUICK_MINUTES if options.quick else MINUTES) if options.minutes is None else options.minutes
        outcomes = judged(sessions, conditions, began + 60 * minutes)
    except JudgeError as error:
        print(f"judge: {error}", file=sys.stderr)
        return 2
    cell = next(iter(cells.values()))
    about = {
        "seed": options.seed, "quick": options.quick, "control": options.control,
        "seconds": round(time.monotonic() - began), "load": round(os.getloadavg()[1], 2),
    }  # fmt: skip
    full = not (
        options.quick or options.scenario or options.cell or options.tracking or options.speed or options.enforce
    )
    result = report(outcomes, cell.arm.joint_names, about, full=full, control=bool(options.control))
    (options.out / "report.json").write_text(json.dumps(result, indent=2) + "\n")
    draw(kept(outcomes), cell.arm.own, result, options.out / "speeds.png")
    print(_summary(result, options.out))
    return 0 if result["passed"] else 1


def serve(address: str, model: Path, record: Path) -> int:
    """The judging robot alone, stopping for errors as a real one does, to be driven by others; until Ctrl-C."""
    with JudgingRobot(find_interpreter(), address, model, record, enforce=True, whole=True):
        print(f"judge: the robot is at {address}; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


def _summary(result: dict[str, object], out: Path) -> str:
    keys = ("commands", "clean_commands", "lost_cycles", "errors_clean", "errors_lossy", "artefacts", "enforced")
    shown = {key: result[key] for key in keys}
    lines = [f"{key}: {json.dumps(value)}" for key, value in shown.items()]
    problems = result["problems"]
    assert isinstance(problems, list)
    lines += [f"problem: {problem}" for problem in problems]
    lines.append(f"judge: {'passed' if result['passed'] else 'FAILED'}; {out / 'report.json'}, {out / 'speeds.png'}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vga_bringup.judge", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one cell, velocity mode, shorter scenarios")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one; may be given again")
    parser.add_argument("--cell", action="append", choices=("lab", "sim"), help="only this cell; may be given again")
    parser.add_argument("--tracking", action="append", choices=("velocity", "impedance"), help="only this one")
    parser.add_argument("--speed", action="append", type=float, help="only this speed_scale; may be given again")
    parser.add_argument("--enforce", action="store_true", help="only with a robot that stops for errors")
    parser.add_argument("--seed", type=int, default=SEED, help="of everything random (default: %(default)s)")
    parser.add_argument("--control", choices=("franky-limits",), help="with franky's own limits: errors are expected")
    parser.add_argument("--serve", action="store_true", help="judge nothing: let the robot be driven, until Ctrl-C")
    parser.add_argument("--minutes", type=float, help="in which to repeat what lost too many cycles (38, quick: 3.7)")
    parser.add_argument("--address", default=ADDRESS, help="loopback address of the judging robot (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/judge"), help="for the results (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
