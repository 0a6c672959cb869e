"""Evaluations side by side, as the paper's Table 3: a row a method, a column a task under each camera set.

`text` and `plot` render it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vga_policy.evaluate.intervals import Interval, RateDifference, mean_interval, paired_difference, wilson
from vga_policy.evaluate.results import Evaluation
from vga_policy.evaluate.trials import Trial

CAMERA_SETS = {"id": "Seen view", "ood": "Unseen view"}
AVERAGE = "average"
SHARED = ("max_steps", "latency", "cell")  # conditions of every trial in a row

Key = tuple[str, str, int]  # run, task, seed: what makes trials of two evaluations a pair


@dataclass(frozen=True)
class Rate:
    """Successes of some trials, and of how many trainings they are."""

    successes: int
    trials: int
    runs: int

    @property
    def value(self) -> float:
        """The success rate."""
        return self.successes / self.trials

    @property
    def interval(self) -> Interval:
        """Wilson's, for the policies tried: another training may differ by more."""
        return wilson(self.successes, self.trials)


@dataclass(frozen=True)
class Comparison:
    """Two sets of trials on the same scenes: `first` less `second`.

    across_runs: Student's interval over the trainings' own differences, None for fewer than two.
    """

    first: str
    second: str
    column: str
    difference: RateDifference
    across_runs: Interval | None


@dataclass(frozen=True)
class Table:
    """Rates by row and column; columns are (camera set, task), every set's last one its average over the tasks.

    There is no average over tasks that were tried unequally often, as the most tried would count most, and none of a
    row that lacks a task of its set: it would stand beside averages of other tasks.
    """

    columns: tuple[tuple[str, str], ...]
    rows: dict[str, dict[tuple[str, str], Rate]]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def compare(evaluations: Sequence[Evaluation], reference: str = "") -> Table:
    """The table of some evaluations; those of one row and camera set are trainings of one method, or tasks of it.

    Compared are: unseen and seen view of every row, and every row with `reference`, the first one by default.
    Raises ValueError for no evaluations, an unknown reference, a trial that is there twice, or a row of trials that
    were not run alike. Rows that were not are told in the notes.
    """
    if not evaluations:
        raise ValueError("no evaluations to compare")
    label = _labels(evaluations)
    _refuse_mixtures(evaluations, label)
    trials: dict[str, dict[str, dict[Key, Trial]]] = {}
    for evaluation in evaluations:
        camera_set, run = evaluation.conditions.camera_set, evaluation.conditions.run
        cell = trials.setdefault(label(evaluation), {}).setdefault(camera_set, {})
        for trial in evaluation.trials:
            if cell.setdefault((run, trial.task, trial.seed), trial) is not trial:
                raise ValueError(
                    f"{label(evaluation)}, {camera_set}: {trial.task} with seed {trial.seed} is there twice; "
                    "give trainings of one method different runs (--run)"
                )
    reference = reference or next(iter(trials))
    if reference not in trials:
        raise ValueError(f"reference {reference!r}: there is {', '.join(map(repr, trials))}")
    columns = _columns(evaluations)
    rows = {
        row: {column: rate for column in columns if (rate := _rate(_select(tried, column, columns))) is not None}
        for row, tried in trials.items()
    }
    notes = (*_notes(evaluations), *_unlike(evaluations, label, reference))
    return Table(columns, rows, tuple(_comparisons(trials, columns, reference)), notes)


def heading(column: tuple[str, str]) -> str:
    """A column in words."""
    camera_set, task = column
    return f"{CAMERA_SETS.get(camera_set, camera_set)}: {task.replace('_', ' ')}"


def _labels(evaluations: Sequence[Evaluation]) -> Labels:
    """Rows are methods; what else tells evaluations apart is added to their names."""
    return Labels(
        strategy=len({evaluation.conditions.strategy for evaluation in evaluations}) > 1,
        path=len({evaluation.conditions.path for evaluation in evaluations}) > 1,
    )


@dataclass(frozen=True)
class Labels:
    """Names the row of an evaluation; strategy, path: whether the name says them."""

    strategy: bool
    path: bool

    def __call__(self, evaluation: Evaluation) -> str:
        """The row's name."""
        conditions = evaluation.conditions
        parts = [conditions.method, conditions.control]
        parts += [conditions.strategy] if self.strategy else []
        parts += [conditions.path] if self.path else []
        return ", ".join(filter(None, parts))


def _refuse_mixtures(evaluations: Iterable[Evaluation], label: Labels) -> None:
    """Raises ValueError where a row mixes SHARED conditions, or one run of it the weights of several trainings."""
    first: dict[tuple[str, ...], Evaluation] = {}
    for evaluation in evaluations:
        row, run = label(evaluation), evaluation.conditions.run
        # A method may be called as another's row with a control is.
        for name, *group in (*((name, row) for name in ("method", "control", *SHARED)), ("weights", row, run)):
            other = first.setdefault((name, *group), evaluation)
            theirs, own = getattr(other.conditions, name), getattr(evaluation.conditions, name)
            if theirs != own:
                raise ValueError(
                    f"{row}: {other.source} and {evaluation.source} differ in {name} ({theirs}, {own}); give one "
                    "another method, or trainings of one method different runs (`vga eval sim --method, --run`, or "
                    "the conditions in results.json)"
                )


def _columns(evaluations: Sequence[Evaluation]) -> tuple[tuple[str, str], ...]:
    present = {(one.conditions.camera_set, task): None for one in evaluations for task in one.tasks}
    sets = sorted({camera_set for camera_set, _ in present}, key=lambda name: (name not in CAMERA_SETS, name))
    tasks = list(dict.fromkeys(task for _, task in present))
    return tuple((name, task) for name in sets for task in (*[t for t in tasks if (name, t) in present], AVERAGE))


def _select(
    tried: dict[str, dict[Key, Trial]], column: tuple[str, str], columns: Iterable[tuple[str, str]]
) -> dict[Key, Trial]:
    """A row's trials of a column; none for an average of tasks that are not all there, each as often."""
    camera_set, task = column
    trials = tried.get(camera_set, {})
    if task != AVERAGE:
        return {key: trial for key, trial in trials.items() if trial.task == task}
    whole = {AVERAGE, *(task for _, task, _ in trials)} == {name for among, name in columns if among == camera_set}
    return trials if whole and _even(trials) else {}


def _even(trials: Iterable[Key]) -> bool:
    """Whether every task has as many trials as every other."""
    return len(set(Counter(task for _, task, _ in trials).values())) <= 1


def _rate(trials: dict[Key, Trial]) -> Rate | None:
    if not trials:
        return None
    return Rate(sum(trial.success for trial in trials.values()), len(trials), len({run for run, _, _ in trials}))


def _unlike(evaluations: Sequence[Evaluation], label: Labels, reference: str) -> Iterable[str]:
    """Of rows whose trials were run otherwise than the reference's: in what they differ."""
    first = {label(one): {name: getattr(one.conditions, name) for name in SHARED} for one in reversed(evaluations)}
    usual = first[reference]
    for row, shared in reversed(first.items()):
        if found := [f"{name} {shared[name]}, not {usual[name]}" for name in SHARED if shared[name] != usual[name]]:
            yield f"{row} was tried otherwise than {reference}: {'; '.join(found)}."


def _comparisons(
    trials: dict[str, dict[str, dict[Key, Trial]]], columns: Sequence[tuple[str, str]], reference: str
) -> Iterable[Comparison]:
    tasks = list(dict.fromkeys(task for _, task in columns))
    for row, tried in trials.items():
        for task in tasks:
            yield from _comparison(
                f"{row}, {CAMERA_SETS['ood'].lower()}", "seen view", task, _select(tried, ("ood", task), columns),
                _select(tried, ("id", task), columns),
            )  # fmt: skip
    for row in trials:
        if row != reference:
            for column in columns:
                pair = (_select(trials[name], column, columns) for name in (row, reference))
                yield from _comparison(row, reference, heading(column), *pair)


def _comparison(first: str, second: str, column: str, a: dict[Key, Trial], b: dict[Key, Trial]) -> Iterable[Comparison]:
    """The comparison over the trials that both have; none where there is no such trial."""
    shared = [key for key in a if key in b]
    if not shared or not _even(shared):
        return
    runs = sorted({run for run, _, _ in shared})
    own = []
    for run in runs:
        keys = [key for key in shared if key[0] == run]
        own.append(sum(a[key].success - b[key].success for key in keys) / len(keys))
    difference = paired_difference([a[key].success for key in shared], [b[key].success for key in shared])
    across = mean_interval(own) if len(runs) > 1 else None
    yield Comparison(first, second, column.replace("_", " "), difference, across)


def _notes(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """What holds for the trials, each distinct value once."""
    conditions = [evaluation.conditions for evaluation in evaluations]

    def listed(values: Iterable[object]) -> str:
        return ", ".join(dict.fromkeys(map(str, values)))

    missing = Counter(task.replace("_", " ") for evaluation in evaluations for task, _ in evaluation.missing)
    cameras = ((c.camera_set, " + ".join(c.cameras)) for c in conditions)
    return (
        f"Step limit: {listed(c.max_steps for c in conditions)}. Execution: {listed(c.strategy for c in conditions)}.",
        f"Views: {listed(f'{camera_set} = {names}' for camera_set, names in cameras)}.",
        f"Path: {listed(c.path for c in conditions)}. First seed: {listed(c.seed for c in conditions)}.",
        *(
            [f"Trials not reached: {', '.join(f'{task} {count}' for task, count in missing.items())}."]
            if missing
            else []
        ),
    )
