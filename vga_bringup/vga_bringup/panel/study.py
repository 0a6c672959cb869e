"""A running evaluation, as its directory tells."""

from __future__ import annotations

from pathlib import Path

from vga_policy.evaluate.intervals import wilson
from vga_policy.evaluate.results import FILE, Evaluation, ResultsError, load

from vga_bringup.panel.model import Study, SuccessRate


class Progress:
    """Reads the results in `directory` when they have changed: `vga eval sim` keeps every trial there as it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changed = 0
        self._study = Study(directory.name)

    def read(self) -> Study:
        """How far it is."""
        file = self._directory / FILE
        try:
            changed = file.stat().st_mtime_ns
        except OSError:
            return Study(self._directory.name, problem=f"no trial has ended yet: {file} is not there")
        if changed != self._changed:
            self._changed, self._study = changed, self._load(file)
        return self._study

    def _load(self, file: Path) -> Study:
        try:
            return Study(self._directory.name, rates(load(file)))
        except ResultsError as error:
            return Study(self._directory.name, problem=str(error))


def rates(evaluation: Evaluation) -> tuple[SuccessRate, ...]:
    """Of all trials and, where there are several tasks, of each."""
    tasks = evaluation.tasks
    return tuple(_rate(evaluation, name) for name in ([""] if len(tasks) == 1 else ["", *tasks]))


def _rate(evaluation: Evaluation, task: str) -> SuccessRate:
    trials = [trial for trial in evaluation.trials if task in ("", trial.task)]
    missing = sum(task in ("", name) for name, _ in evaluation.missing)
    successes = sum(trial.success for trial in trials)
    return SuccessRate(
        task or " and ".join(evaluation.tasks) if len(evaluation.tasks) == 1 else task or "all tasks",
        len(trials),
        len(trials) + missing,
        successes,
        *wilson(successes, len(trials)),
    )
