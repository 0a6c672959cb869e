"""`vga eval sim`: runs trials, tells how they go, and leaves results, table and videos in a directory."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import BEST, locate
from vga_policy.evaluate.results import FILE, Conditions, Evaluation, figures
from vga_policy.evaluate.tables import files as table_files
from vga_policy.evaluate.tables import table
from vga_policy.evaluate.tables.text import percent
from vga_policy.evaluate.trials import Trial
from vga_policy.ros.errors import GraphError

from vga_bringup.trials.actors import OPERATOR, SPECIAL, digest, is_baseline, trained_on
from vga_bringup.trials.conditions import Request, TrialsError, cell_for


def run(args: argparse.Namespace) -> int:
    """Runs the trials: 0 when all ran, whatever they showed; 1 when some cannot be run or kept; 130 after Ctrl-C.

    Those that ran are kept and told in any case.
    """
    progress = Console(stderr=True, highlight=False)
    if args.checkpoint not in SPECIAL:
        args.checkpoint = str(locate(args.checkpoint))
    args.method = args.method or named(args.checkpoint)
    args.out = args.out or default_out(args)
    try:
        if (args.out / FILE).exists():
            raise TrialsError(f"{args.out / FILE} exists: choose another --out")
        request = request_for(args)
        conditions = conditions_of(args, request)
        trials, problem = run_trials(request, args, progress)
    except (TrialsError, CellError, GraphError) as error:
        return _problem(error)
    status = 0 if len(trials) == len(request.seeds()) else 130
    if problem is not None:
        status = _problem(problem)
    if not trials:
        return status
    evaluation = Evaluation(conditions, tuple(trials))
    try:
        save(evaluation, args.out)
        written = str(args.out)
    except OSError as error:
        status = _problem(f"{args.out}: the results cannot be written: {error}")
        written = "not written"
    if args.json:
        print(json.dumps(evaluation.to_json(), indent=2))
    else:
        _print(evaluation, written)
    return status


def _problem(error: object) -> int:
    print(f"vga eval sim: {error}", file=sys.stderr)
    return 1


def save(evaluation: Evaluation, directory: Path) -> None:
    """Writes results.json, trials.csv and table.{md,csv,png}."""
    evaluation.save(directory)
    table_files.save(table.compare([evaluation]), directory)


def request_for(args: argparse.Namespace) -> Request:
    """The trials that the command line asks for. Raises TrialsError, CellError."""
    if args.control and not args.fast:
        raise TrialsError(f"--control {args.control} changes what the policy is given: add --fast")
    if args.checkpoint == OPERATOR and not args.fast:
        raise TrialsError(f"{OPERATOR!r} rehearses in simulated time: add --fast")
    if is_baseline(args.checkpoint) and not args.fast:
        raise TrialsError("the policy's node runs no policies of LeRobot: add --fast")
    cell: Cell = load_cell(cell_path(args.cell))
    return Request(
        checkpoint=args.checkpoint,
        cell=cell_for(cell, args.view, args.strategy, trained_on(args.checkpoint)),
        view=args.view,
        tasks=tuple(dict.fromkeys(args.task)),
        trials=args.trials,
        seed=args.seed,
        directory=args.out,
        max_steps=args.max_steps,
        latency=args.latency,
        control=args.control,
        videos=args.videos,
        python=args.python,
    )


def conditions_of(args: argparse.Namespace, request: Request) -> Conditions:
    """What a result of these trials is the result of."""
    return Conditions(
        method=args.method,
        view=request.view,
        cameras=tuple(camera.name for camera in request.cell.views),
        strategy=str(request.cell.execution.strategy),
        max_steps=request.max_steps,
        path="fast" if args.fast else "ros",
        seed=request.seed,
        latency=request.latency if args.fast else None,
        control=request.control,
        run=args.training,
        checkpoint=args.checkpoint if args.checkpoint in SPECIAL else Path(args.checkpoint).resolve().name,
        weights=digest(args.checkpoint),
        cell=request.cell.name,
        machine={"cores": str(os.cpu_count()), "machine": platform.machine(), "python": platform.python_version()},
    )


def named(checkpoint: str) -> str:
    """The policy's name in tables: its directory's, or its run's for the best of a run, which is named by its step."""
    if checkpoint in SPECIAL:
        return checkpoint
    path = Path(checkpoint)
    return (path.parent if path.name == BEST else path).resolve().name


def default_out(args: argparse.Namespace) -> Path:
    """A directory for each thing that is tried."""
    parts = (args.method, args.training, args.view, args.control)
    return Path("out", "eval", "-".join(filter(None, parts)).replace("/", "_"))


def run_trials(
    request: Request, args: argparse.Namespace, console: Console
) -> tuple[list[Trial], TrialsError | GraphError | OSError | None]:
    """The trials that were run, and what kept the others from it; nothing did if all were run, or after Ctrl-C.

    Raises TrialsError when nothing can be written into the request's directory.
    """
    _make_writable(request.directory)
    done: list[Trial] = []
    problem = None
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task("trials", total=len(request.seeds()))
        try:
            with closing(_trials(request, args)) as trials:
                for trial in trials:
                    done.append(trial)
                    successes = sum(other.success for other in done)
                    bar.update(row, completed=len(done), description=f"{trial.task}: {successes} successes, trials")
        except KeyboardInterrupt:
            pass
        except (TrialsError, GraphError, OSError) as error:
            problem = error
    if len(done) < len(request.seeds()):
        console.print(f"stopped after {len(done)} of {len(request.seeds())} trials")
    return done, problem


def _make_writable(directory: Path) -> None:
    """Makes the directory; tells before the trials rather than after them when there is no writing into it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise TrialsError(f"{directory}: cannot be written: {error.strerror}; choose another --out") from None


def _trials(request: Request, args: argparse.Namespace) -> Generator[Trial, None, None]:
    if args.fast:
        from vga_bringup.trials.in_process_trials import run_fast

        return run_fast(request, args.jobs)
    from vga_bringup.trials.ros_trials import run_graph

    return run_graph(request)


def _print(evaluation: Evaluation, written: str) -> None:
    conditions = evaluation.conditions
    path = f"simulated time, {conditions.latency} s from image to chunk" if conditions.path == "fast" else "real time"
    control = f", control: {conditions.control}" if conditions.control else ""
    print(
        f"{conditions.method}, {' + '.join(conditions.cameras)} ({conditions.view}), {conditions.strategy}, "
        f"at most {conditions.max_steps} steps, {path}{control}"
    )
    for trial in evaluation.trials:
        reason = f" ({trial.reason})" if trial.reason else ""
        refused = f", refused {dict(trial.refused)}" if trial.refused else ""
        print(f"  {trial.task} {trial.seed}: {trial.outcome} after {trial.steps} steps{reason}{refused}")
    for task in evaluation.tasks:
        print(f"{task}: {in_words(evaluation.of(task))}")
    if len(evaluation.tasks) > 1:
        print(f"all: {in_words(evaluation.trials)}")
    print(f"results: {written}")


def in_words(trials: Sequence[Trial]) -> str:
    """Their figures in a line."""
    report = figures(trials)
    low, high = map(percent, report["interval"])
    words = f"success_rate {percent(report['success_rate'])} % [{low}, {high}], {report['successes']} of {report['n']}"
    if rate := report.get("chunk_rate"):
        words += f"; {rate:g} chunks a second"
    if grasped := report.get("grasped"):
        words += "; grasped the right object {right}, a wrong one {wrong}, none {none}".format(**grasped)
    return words
