"""`vga eval ablation`: every run of an ablation in the same trials, and the variants side by side."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

from rich.console import Console
from vga_policy.cell.errors import CellError
from vga_policy.evaluate import results
from vga_policy.evaluate.results import Evaluation, ResultsError
from vga_policy.evaluate.tables import files as table_files
from vga_policy.evaluate.tables import table
from vga_policy.evaluate.tables import text as table_text
from vga_policy.ros.errors import GraphError
from vga_policy.train.ablation.files import Finished, finished
from vga_policy.train.runs.failure import TrainingError

from vga_bringup.trials.conditions import TrialsError
from vga_bringup.trials.evaluation import conditions_of, in_words, request_for, run_trials, save

TRIALS = "trials"


def run(args: argparse.Namespace) -> int:
    """Tries what has been trained, but for what was tried before: 0; 1 when it cannot be; 130 after Ctrl-C."""
    console = Console(stderr=True, highlight=False)
    out = args.out or args.ablation / TRIALS
    done: list[Evaluation] = []
    try:
        runs = finished(args.ablation)
        if not runs:
            raise TrialsError(f"{args.ablation}: holds no finished run of `vga ablate`")
        for one, view in product(runs, args.view):
            evaluation = _tried(one, view, out / one.run.parent.name / one.run.name / view, args, console)
            if evaluation is None:
                return 130
            for task in evaluation.tasks:
                print(f"{one.variant}, seed {one.seed}, {view}, {task}: {in_words(evaluation.of(task))}", flush=True)
            done.append(evaluation)
            table_files.save(table.compare(done), out)
    except (TrialsError, CellError, GraphError, OSError, ResultsError, TrainingError) as error:
        print(f"vga eval ablation: {error}", file=sys.stderr)
        return 1
    print(f"\n{table_text.markdown(table.compare(done))}\nresults: {out}")
    return 0


def _tried(one: Finished, view: str, directory: Path, args: argparse.Namespace, console: Console) -> Evaluation | None:
    """The run's trials, from `directory` if they are there; None when interrupted, which leaves no results."""
    chosen = {"checkpoint": str(one.checkpoint), "method": one.variant, "training": str(one.seed), "view": view}
    fixed = {"out": directory, "fast": True, "control": "", "videos": 0, "python": sys.executable}
    own = argparse.Namespace(**{**vars(args), **chosen, **fixed})
    request = request_for(own)
    conditions = conditions_of(own, request)
    if (directory / results.FILE).exists():
        known = results.load(directory)
        tried = sorted((trial.task, trial.seed) for trial in known.trials)
        if replace(known.conditions, machine=conditions.machine) != conditions or tried != sorted(request.seeds()):
            raise TrialsError(f"{directory}: holds other trials; give another --out")
        return known
    trials, problem = run_trials(request, own, console)
    if problem is not None:
        raise problem
    if len(trials) < len(request.seeds()):
        return None
    evaluation = Evaluation(conditions, tuple(trials))
    save(evaluation, directory)
    return evaluation
