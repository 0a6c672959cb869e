"""`vga eval sim`: runs trials, tells how they go, and leaves results, table and videos in a directory."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import BEST, locate
from vga_policy.evaluate.results import GRAPH, IN_PROCESS, Conditions, Evaluation, ResultsError, figures
from vga_policy.evaluate.tables import files as table_files
from vga_policy.evaluate.tables import table
from vga_policy.evaluate.tables.text import percent
from vga_policy.evaluate.trials import Trial
from vga_policy.ros.errors import GraphError

from vga_bringup.sim.scene.task import TaskError
from vga_bringup.sim.scene.views import require_simulated
from vga_bringup.sim.tasks.registry import find
from vga_bringup.trials.actors import OPERATOR, SPECIAL, digest, is_baseline, trained_on
from vga_bringup.trials.conditions import EvalRequest, TrialsError, cell_for
from vga_bringup.trials.options import EvalOptions
from vga_bringup.trials.running import begun, run_trials


def run(options: EvalOptions, *, as_json: bool) -> int:
    """Runs the trials: 0 when all ran, whatever they showed; 1 when some cannot be run or kept; 130 after Ctrl-C.

    Those that ran are kept and told in any case, and are not run again.
    """
    progress = Console(stderr=True, highlight=False)
    try:
        request = request_for(options)
        before = _begun(request, options.overwrite)
        if not before.missing:
            progress.print("all of its trials are there; --overwrite runs them anew", soft_wrap=True)
            _tell(before, str(request.directory), as_json=as_json)
            return 0
        evaluation, problem = run_trials(request, before, options.trials.jobs, progress)
    except (TrialsError, CellError, GraphError) as error:
        return _problem(error)
    status = 130 if evaluation.missing else 0
    if problem is not None:
        status = _problem(problem)
    if not evaluation.trials:
        return status
    try:
        save(evaluation, request.directory)
        written = str(request.directory)
    except OSError as error:
        status = 1 if problem is not None else _problem(f"{request.directory}: the results cannot be written: {error}")
        written = "not written"
    _tell(evaluation, written, as_json=as_json)
    return status


def _tell(evaluation: Evaluation, written: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(evaluation.to_json(), indent=2))
    else:
        _print(evaluation, written)


def _begun(request: EvalRequest, overwrite: bool) -> Evaluation:
    """What there is of the trials. Raises TrialsError where others are there, unless those are to be overwritten."""
    conditions = conditions_of(request)
    if overwrite:
        return Evaluation(conditions, (), tuple(request.seeds()))
    try:
        return begun(request, conditions)
    except ResultsError as error:
        raise TrialsError(f"{error}; choose another --out, or add --overwrite") from None
    except TrialsError as error:
        raise TrialsError(f"{error}, or add --overwrite") from None


def _problem(error: object) -> int:
    print(f"vga eval sim: {error}", file=sys.stderr)
    return 1


def save(evaluation: Evaluation, directory: Path) -> None:
    """Writes results.json, trials.csv and table.{md,csv,png}."""
    evaluation.save(directory)
    table_files.save(table.compare([evaluation]), directory)


def request_for(options: EvalOptions) -> EvalRequest:
    """The trials that are asked for, with everything looked up. Raises TrialsError, CellError."""
    trials, checkpoint = options.trials, options.checkpoint
    if checkpoint not in SPECIAL:
        checkpoint = str(locate(checkpoint))
    if not options.in_process:
        _refuse_in_real_time(checkpoint, options.control)
    tasks = tuple(dict.fromkeys(trials.tasks))
    _refuse_tasks(tasks, options.in_process)
    method = options.method or named(checkpoint)
    cell = load_cell(cell_path(trials.cell))
    require_simulated(cell)
    return EvalRequest(
        checkpoint=checkpoint,
        cell=cell_for(cell, options.camera_set, trials.strategy, trained_on(checkpoint)),
        camera_set=options.camera_set,
        tasks=tasks,
        trials=trials.trials,
        seed=trials.seed,
        directory=options.out or default_out(method, options.training, options.camera_set, options.control),
        in_process=options.in_process,
        max_steps=trials.max_steps,
        latency=trials.latency,
        control=options.control,
        videos=options.videos,
        python=options.python,
        method=method,
        training=options.training,
    )


def _refuse_tasks(tasks: Sequence[str], in_process: bool) -> None:
    """Raises TrialsError for a task that cannot be used, or not on one graph with the others."""
    try:
        objects = [find(task).objects for task in tasks]
    except TaskError as error:
        raise TrialsError(str(error)) from None
    if not in_process and any(other != objects[0] for other in objects):
        raise TrialsError("these tasks have different objects: try one --task at a time, or add --in-process")


def _refuse_in_real_time(checkpoint: str, control: str) -> None:
    """Raises TrialsError for what the ROS graph cannot do."""
    if control:
        raise TrialsError(f"--control {control} changes what the policy is given: add --in-process")
    if checkpoint == OPERATOR:
        raise TrialsError(f"{OPERATOR!r} rehearses in simulated time: add --in-process")
    if is_baseline(checkpoint):
        raise TrialsError("the policy's node runs no policies of LeRobot: add --in-process")


def conditions_of(request: EvalRequest) -> Conditions:
    """What a result of these trials is the result of."""
    checkpoint = request.checkpoint
    return Conditions(
        method=request.method,
        camera_set=request.camera_set,
        cameras=tuple(camera.name for camera in request.cell.views),
        strategy=str(request.cell.execution.strategy),
        max_steps=request.max_steps,
        path=IN_PROCESS if request.in_process else GRAPH,
        seed=request.seed,
        latency=request.latency if request.in_process else None,
        control=request.control,
        run=request.training,
        checkpoint=checkpoint if checkpoint in SPECIAL else Path(checkpoint).resolve().name,
        weights=digest(checkpoint),
        cell=request.cell.name,
        machine={"cores": str(os.cpu_count()), "machine": platform.machine(), "python": platform.python_version()},
    )


def named(checkpoint: str) -> str:
    """The policy's name in tables: its directory's, or its run's for the best of a run, which is named by its step."""
    if checkpoint in SPECIAL:
        return checkpoint
    path = Path(checkpoint)
    return (path.parent if path.name == BEST else path).resolve().name


def default_out(*parts: str) -> Path:
    """A directory for each thing that is tried: method, training, camera set and control, where given."""
    return Path("out", "eval", "-".join(filter(None, parts)).replace("/", "_"))


def _print(evaluation: Evaluation, written: str) -> None:
    conditions = evaluation.conditions
    in_process = f"simulated time, {conditions.latency} s from image to chunk"
    path = in_process if conditions.path == IN_PROCESS else "real time"
    control = f", control: {conditions.control}" if conditions.control else ""
    print(
        f"{conditions.method}, {' + '.join(conditions.cameras)} ({conditions.camera_set}), {conditions.strategy}, "
        f"at most {conditions.max_steps} steps, {path}{control}"
    )
    for task, seed in evaluation.missing:
        print(f"  {task} {seed}: not reached")
    for task in evaluation.tasks:
        print(f"{task}: {figures_in_words(evaluation.of(task))}")
    if len(evaluation.tasks) > 1:
        print(f"all: {figures_in_words(evaluation.trials)}")
    print(f"results: {written}")


def figures_in_words(trials: Sequence[Trial]) -> str:
    """Their figures in a line."""
    if not trials:
        return "not reached"
    report = figures(trials)
    low, high = map(percent, report["interval"])
    words = f"success_rate {percent(report['success_rate'])} % [{low}, {high}], {report['successes']} of {report['n']}"
    if rate := report.get("chunk_rate"):
        words += f"; {rate:g} chunks a second"
    if grasped := report.get("grasped"):
        words += "; grasped the right object {right}, a wrong one {wrong}, none {none}".format(**grasped)
    return words
