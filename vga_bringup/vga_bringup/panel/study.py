"""A running evaluation, as its directory tells: the results of `vga eval sim`, or the study of `vga eval robot`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from vga_policy.evaluate.intervals import wilson
from vga_policy.evaluate.results import FILE, Evaluation, ResultsError, load

from vga_bringup.panel.model import Study, SuccessRate

DATABASE = "fieldtrial.db"
ALL_TASKS = "all tasks"
ALL_ARMS = "all arms of the study, which stays blind"


class Progress:
    """Reads what is in `directory` when it has changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changed: tuple[int, ...] = ()
        self._study = Study(directory.name)

    def read(self) -> Study:
        """How far it is."""
        if self._stamps() != self._changed:
            self._study = self._load()
            self._changed = self._stamps()  # to read a database touches it
        return self._study

    def _stamps(self) -> tuple[int, ...]:
        """When each of the files was written last, ns; 0 where it is not there."""
        files = (self._directory / name for name in (FILE, DATABASE, f"{DATABASE}-wal"))
        return tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)

    def _load(self) -> Study:
        name, database = self._directory.name, self._directory / DATABASE
        if database.is_file():
            if find_spec("fieldtrial") is None:
                return Study(name, problem="fieldtrial, which reads it, is not installed: make setup PURPOSES=trials")
            return _of_database(self._directory)
        if not (self._directory / FILE).is_file():
            return Study(name, problem=f"no trial has ended yet: {self._directory} has neither {FILE} nor {DATABASE}")
        try:
            return Study(name, rates(load(self._directory / FILE)))
        except ResultsError as error:
            return Study(name, problem=str(error))


def rates(evaluation: Evaluation) -> tuple[SuccessRate, ...]:
    """Of all trials and, where there are several tasks, of each."""
    if len(tasks := evaluation.tasks) == 1:
        return (_rate(evaluation, *tasks),)
    return tuple(_rate(evaluation, task) for task in (ALL_TASKS, *tasks))


def _rate(evaluation: Evaluation, task: str) -> SuccessRate:
    trials = [trial for trial in evaluation.trials if task in (ALL_TASKS, trial.task)]
    missing = sum(task in (ALL_TASKS, name) for name, _ in evaluation.missing)
    successes = sum(trial.success for trial in trials)
    return SuccessRate(task, len(trials), len(trials) + missing, successes, *wilson(successes, len(trials)))


def _of_database(folder: Path) -> Study:
    """Over all arms: a rate of each would tell the person at the robot which is the better one."""
    from fieldtrial.services import ServiceError, open_study
    from fieldtrial.services.study import status_of
    from fieldtrial.services.trial import collect_records

    try:
        with open_study(folder) as context:
            status = status_of(context)
            ended = [record for record in collect_records(context)[0] if record.status == "completed"]
            name = context.spec.name
    except ServiceError as error:
        return Study(folder.name, problem=" ".join(str(error).split()))
    successes = sum(bool(record.success) for record in ended)
    interval = wilson(successes, len(ended))
    return Study(name, (SuccessRate(ALL_ARMS, len(ended), status.done + status.pending, successes, *interval),))
