"""`vga eval robot`: a study made, run, gone on with and reported."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.display import SPARSE, Display
from vga_policy.evaluate.tables.text import markdown
from vga_policy.ros.errors import GraphError

from vga_bringup.study import design
from vga_bringup.study.design import Start, StudyPlan
from vga_bringup.study.errors import StudyError, require_fieldtrial

if TYPE_CHECKING:
    from vga_bringup.study.ledger import Ledger

CANCELED = 130


def run(args: argparse.Namespace) -> int:
    """Does what is asked: 0 when it is done, 1 when it cannot be, 130 after Ctrl-C. What was recorded is kept."""
    try:
        require_fieldtrial()
        if args.create:
            return _create(args)
        return _go_on(args)
    except (StudyError, CellError) as error:
        print(f"vga eval robot: {error}", file=sys.stderr)
        return 1


def _create(args: argparse.Namespace) -> int:
    from vga_bringup.study.ledger import lock

    if not args.policies:
        raise StudyError("--create needs --policies CHECKPOINT [CHECKPOINT ...]")
    plan = StudyPlan(
        policies=design.policies(args.policies),
        views=args.view,
        tasks=tuple(dict.fromkeys(args.task)),
        trials=args.trials,
        seed=args.seed,
        max_steps=args.max_steps,
        cell=args.cell,
    )
    design.create(plan, args.study)
    count = lock(args.study)
    print(
        f"{args.study}: locked, {count} trials of at most {plan.max_steps} steps: {len(plan.policies)} policies, views "
        f"{' and '.join(plan.views)}, {', '.join(plan.tasks)}. next: vga eval robot {args.study}"
    )
    return 0


def _go_on(args: argparse.Namespace) -> int:
    """With a study that is locked."""
    from vga_bringup.study.ledger import open_ledger

    with open_ledger(args.study) as ledger:
        if args.report:
            _report(ledger, args)
            return 0
        cell, starts = _read(args.study)
        ledger.require_unchanged(cell)
        if not args.take_references and ledger.next() is None:
            print("all of its trials are there")
        elif not _run(ledger, cell, starts, args):
            return CANCELED
        if not args.take_references:
            _report(ledger, args)
    return 0


def _read(folder: Path) -> tuple[Cell, dict[tuple[str, int], Start]]:
    return load_cell(folder / design.CELL), design.read_starts(folder)


def _run(ledger: Ledger, cell: Cell, starts: dict[tuple[str, int], Start], args: argparse.Namespace) -> bool:
    """Runs trials, or takes references, on the running graph; False after Ctrl-C, or q. Raises StudyError."""
    from vga_policy.ros.client.session import Session, stop_request
    from vga_teleop.session.buttons import ButtonError, open_buttons

    from vga_bringup.study.graph_rig import GraphRig
    from vga_bringup.study.page import serve
    from vga_bringup.study.running import AGAIN, run_study, take_references

    display = Display(every=SPARSE)
    with stop_request() as stop:
        try:
            with (
                open_buttons(args, sys.stdin.isatty()) as buttons,
                serve() as page,
                Session("vga_study", args.namespace) as session,
                GraphRig(
                    session, cell, args.study, stop, display, buttons, page, args.operator, args.namespace,
                    args.device, record=args.record and not args.take_references,
                ) as rig,
            ):  # fmt: skip
                rig.open()
                display.say(f"the ghost of the reference over the live view: {page.address}")
                if args.take_references:
                    take_references(args.study, rig, starts, display.say, stop)
                else:
                    _begin(ledger, cell, args, display)
                    try:
                        run_study(ledger, rig, starts, display.say, stop)
                    finally:
                        ledger.end_session()
        except (GraphError, ButtonError, OSError) as error:
            if not stop.is_set():
                raise StudyError(f"{error} ({_progress(ledger)}; {AGAIN})") from None
        if _ended_early(ledger, stop, args):
            display.say(f"ended after {_progress(ledger)}; {AGAIN}")
            return False
    return True


def _begin(ledger: Ledger, cell: Cell, args: argparse.Namespace, display: Display) -> None:
    for words in ledger.begin_session(args.operator, cell.name):
        display.say(f"{words}: was killed in the middle, does not count, and will be run again")
    done, total = ledger.progress()
    if done:
        display.say(f"{done} of {total} trials are there: going on")


def _ended_early(ledger: Ledger, stop: Event, args: argparse.Namespace) -> bool:
    return stop.is_set() and (args.take_references or ledger.next() is not None)


def _progress(ledger: Ledger) -> str:
    done, total = ledger.progress()
    return f"{done} of {total} trials"


def _report(ledger: Ledger, args: argparse.Namespace) -> None:
    """Writes the reports and prints the table. Raises StudyError where that would unblind a study that goes on."""
    from vga_bringup.study.report import DIRECTORY, write

    done, total = ledger.progress()
    if not done:
        raise StudyError(f"{args.study}: no trial is done yet: vga eval robot {args.study}")
    if ledger.blinded:
        if done < total and not args.unblind:
            raise StudyError(
                f"{args.study}: {done} of {total} trials are done, and a report says which arm is which: finish "
                "them, or add --unblind, which the report will tell"
            )
        ledger.unblind()
    try:
        table = write(ledger, *_read(args.study))
    except OSError as error:
        raise StudyError(f"{args.study / DIRECTORY}: cannot be written: {error.strerror}") from None
    print(markdown(table))
    print(f"reports: {args.study / DIRECTORY}")
