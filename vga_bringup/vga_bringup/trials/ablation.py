"""`vga eval ablation`: every run of an ablation in the same trials, and the variants side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from rich.console import Console
from vga_policy.cell.errors import CellError
from vga_policy.evaluate.results import Evaluation, ResultsError
from vga_policy.evaluate.tables import files as table_files
from vga_policy.evaluate.tables import table
from vga_policy.evaluate.tables import text as table_text
from vga_policy.ros.errors import GraphError
from vga_policy.train.ablation.files import Finished, finished
from vga_policy.train.runs.failure import TrainingError

from vga_bringup.trials.conditions import TrialsError
from vga_bringup.trials.evaluation import conditions_of, figures_in_words, request_for, save
from vga_bringup.trials.options import EvalOptions, TrialOptions
from vga_bringup.trials.running import begun, run_trials

TRIALS = "trials"


def run(ablation: Path, camera_sets: Sequence[str], trials: TrialOptions, out: Path | None) -> int:
    """Tries what has been trained, but for what was tried before: 0; 1 when it cannot be; 130 after Ctrl-C."""
    console = Console(stderr=True, highlight=False)
    out = out or ablation / TRIALS
    done: list[Evaluation] = []
    try:
        runs = finished(ablation)
        if not runs:
            raise TrialsError(f"{ablation}: holds no finished run of `vga ablate`")
        for one, camera_set in product(runs, camera_sets):
            evaluation = _tried(_options(one, camera_set, trials, out), console)
            if evaluation.missing:
                return 130
            for task in evaluation.tasks:
                words = figures_in_words(evaluation.of(task))
                print(f"{one.variant}, seed {one.seed}, {camera_set}, {task}: {words}", flush=True)
            done.append(evaluation)
            table_files.save(table.compare(done), out)
    except (TrialsError, CellError, GraphError, OSError, ResultsError, TrainingError) as error:
        print(f"vga eval ablation: {error}", file=sys.stderr)
        return 1
    print(f"\n{table_text.markdown(table.compare(done))}\nresults: {out}")
    return 0


def _options(one: Finished, camera_set: str, trials: TrialOptions, out: Path) -> EvalOptions:
    """The trials of one run."""
    return EvalOptions(
        checkpoint=str(one.checkpoint),
        trials=trials,
        camera_set=camera_set,
        in_process=True,
        method=one.variant,
        training=str(one.seed),
        out=out / one.run.parent.name / one.run.name / camera_set,
    )


def _tried(options: EvalOptions, console: Console) -> Evaluation:
    """The run's trials, those left by an earlier call not tried again; some are missing when interrupted."""
    request = request_for(options)
    before = begun(request, conditions_of(request))
    if not before.missing:
        return before
    evaluation, problem = run_trials(request, before, options.trials.jobs, console)
    if problem is not None:
        raise problem
    if not evaluation.missing:
        save(evaluation, request.directory)
    return evaluation
