"""Trials run one by one: each is told and kept as it ends, and an interrupted set of trials goes on where it was."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryFile

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from vga_policy.evaluate.results import FILE, Conditions, Evaluation, load
from vga_policy.evaluate.trials import Trial
from vga_policy.ros.errors import GraphError

from vga_bringup.trials.conditions import EvalRequest, TrialsError

Problem = TrialsError | GraphError | OSError


def begun(request: EvalRequest, conditions: Conditions) -> Evaluation:
    """What an earlier run has left of these trials in the request's directory; all are missing where it left nothing.

    Raises ResultsError, and TrialsError when other trials are there.
    """
    wanted = request.seeds()
    if not (request.directory / FILE).exists():
        return Evaluation(conditions, (), tuple(wanted))
    known = load(request.directory)
    differing = [
        f"{item.name} {getattr(known.conditions, item.name)!r}, not {getattr(conditions, item.name)!r}"
        for item in fields(Conditions)
        if item.name != "machine" and getattr(known.conditions, item.name) != getattr(conditions, item.name)
    ]
    if sorted([*((trial.task, trial.seed) for trial in known.trials), *known.missing]) != sorted(wanted):
        differing.append("other tasks or seeds")
    if differing:
        raise TrialsError(f"{request.directory}: holds other trials; give another --out ({'; '.join(differing)})")
    return known


def run_trials(
    request: EvalRequest, before: Evaluation, jobs: int, console: Console
) -> tuple[Evaluation, Problem | None]:
    """Runs what is missing of the request's trials; all that ran, and what kept the others from it.

    Nothing did if all were run, or after Ctrl-C. Raises TrialsError when nothing can be written into the request's
    directory.
    """
    _make_writable(request.directory)
    now, problem = before, None
    total = len(request.seeds())
    if before.trials:
        console.print(f"{len(before.trials)} of {total} trials are there: going on", soft_wrap=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task("trials", total=total, completed=len(before.trials))
        try:
            with closing(_trials(request, before.missing, jobs)) as trials:
                for trial in trials:
                    now = _with(now, trial, request.seeds())
                    console.print(f"{len(now.trials)}/{total} {in_words(trial)}", markup=False, soft_wrap=True)
                    successes = sum(other.success for other in now.trials)
                    bar.update(
                        row, completed=len(now.trials), description=f"{trial.task}: {successes} successes, trials"
                    )
                    _keep(now, request.directory)
        except KeyboardInterrupt:
            pass
        except (TrialsError, GraphError, OSError) as error:
            problem = error
    if now.missing:
        going_on = "; the same command goes on from there" if now.trials else ""
        console.print(f"stopped after {len(now.trials)} of {total} trials{going_on}", soft_wrap=True)
    return now, problem


def in_words(trial: Trial) -> str:
    """How a trial ended, in a line."""
    reason = f" ({trial.reason})" if trial.reason else ""
    refused = f", refused {dict(trial.refused)}" if trial.refused else ""
    return f"{trial.task} {trial.seed}: {trial.outcome} after {trial.steps} steps{reason}{refused}"


def _with(evaluation: Evaluation, trial: Trial, order: Sequence[tuple[str, int]]) -> Evaluation:
    """The evaluation with one more trial, in this order."""
    trials = sorted((*evaluation.trials, trial), key=lambda one: order.index((one.task, one.seed)))
    missing = tuple(one for one in evaluation.missing if one != (trial.task, trial.seed))
    return replace(evaluation, trials=tuple(trials), missing=missing)


def _keep(evaluation: Evaluation, directory: Path) -> None:
    try:
        evaluation.save(directory)
    except OSError as error:
        raise TrialsError(f"{directory}: the results cannot be written: {error}") from None


def _make_writable(directory: Path) -> None:
    """Makes the directory; tells before the trials rather than after them when there is no writing into it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise TrialsError(f"{directory}: cannot be written: {error.strerror}; choose another --out") from None


def _trials(request: EvalRequest, seeds: Sequence[tuple[str, int]], jobs: int) -> Generator[Trial, None, None]:
    if request.in_process:
        from vga_bringup.trials.in_process_trials import run_in_process

        return run_in_process(request, seeds, jobs)
    from vga_bringup.trials.ros_trials import run_graph

    return run_graph(request, seeds)
