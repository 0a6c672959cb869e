"""Results of the benchmark side by side, as the paper's Table 1: a row a policy, a column a suite. No simulator."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vga_policy.evaluate.intervals import paired_difference
from vga_policy.evaluate.results import FILE
from vga_policy.evaluate.tables.table import AVERAGE, Comparison, Rate, Table
from vga_policy.libero.errors import LiberoError

SET = "LIBERO"  # of all columns
COLUMNS = {"libero_spatial": "spatial", "libero_object": "object", "libero_goal": "goal", "libero_10": "long"}
TASKS = 10  # of a suite
PAPER = "the paper's VGA"
PAPERS = {"libero_spatial": 495, "libero_object": 498, "libero_goal": 493, "libero_10": 475}  # of 500: its Table 1
USUAL = {"execute": 8, "seed": 0, "hard_resets": False}

Key = tuple[str, int]  # task, number of the initial state: what makes trials of two rows a pair


@dataclass
class LiberoRow:
    """One policy under one set of conditions. trials: whether each succeeded. missing: how many were not reached."""

    weights: Any
    trials: dict[Key, bool] = field(default_factory=dict)
    missing: int = 0

    def of(self, suite: str) -> dict[Key, bool]:
        """The trials of one suite."""
        return {key: success for key, success in self.trials.items() if key[0].startswith(f"{suite}/")}


def compare(paths: Sequence[Path], reference: str = "") -> Table:
    """The table of some results of `vga eval libero`, each a file or its directory; those of one policy are one row.

    Compared with `reference`, by default the first row, is every other, on the trials that both have. Raises
    LiberoError for what are no such results, for a trial that is there twice, and for weights that differ in a row.
    """
    rows: dict[str, LiberoRow] = {}
    for path in paths:
        _add(rows, path / FILE if path.is_dir() else path)
    reference = reference or next(iter(rows))
    if reference not in rows:
        raise LiberoError(f"--reference {reference!r}: there is {', '.join(map(repr, rows))}")
    rates = {name: _rates(row) for name, row in rows.items()}
    papers = {suite: Rate(successes, 500, 1) for suite, successes in PAPERS.items()}
    rates[PAPER] = {(SET, COLUMNS[suite]): rate for suite, rate in papers.items()}
    rates[PAPER][SET, AVERAGE] = _together(papers.values())
    columns = tuple((SET, name) for name in (*COLUMNS.values(), AVERAGE))
    return Table(columns, rates, tuple(_comparisons(rows, reference)), tuple(_notes(rows)))


def _add(rows: dict[str, LiberoRow], path: Path) -> None:
    """Adds the trials of one file. Raises LiberoError."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LiberoError(f"{path}: cannot be read: {error}") from None
    if not isinstance(results, dict) or not isinstance(results.get("suites"), dict):
        raise LiberoError(f"{path}: no results of `vga eval libero`; `vga eval table` takes those of `vga eval sim`")
    try:
        conditions = results["conditions"]
        if conditions.get("plus"):
            raise LiberoError(f"{path}: trials of LIBERO-Plus, which are no column of this table")
        row = rows.setdefault(_name(conditions), LiberoRow(conditions["weights"]))
        if row.weights != conditions["weights"]:
            raise LiberoError(f"{path}: {_name(conditions)} has other weights ({conditions['weights']}) than before")
        row.missing += int(results.get("missing", 0))
        for trial in results["trials"]:
            key = str(trial["task"]), int(trial["case"]["state"])
            if key in row.trials:
                raise LiberoError(f"{path}: {_name(conditions)} has trial {key[1]} of {key[0]} twice")
            if key[0].partition("/")[0] not in COLUMNS or not isinstance(trial["success"], bool):
                raise ValueError(f"a trial of {key[0]} with success {trial['success']!r}")
            row.trials[key] = trial["success"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LiberoError(f"{path}: not what `vga eval libero` writes: {type(error).__name__}: {error}") from None


def _name(conditions: dict[str, Any]) -> str:
    """Of a row: who acts, what is kept from it, and what else is not as usual."""
    parts = [str(conditions["checkpoint"] or conditions["policy"]), str(conditions.get("control") or "")]
    parts += [f"{key} {conditions[key]}" for key, usual in USUAL.items() if conditions.get(key, usual) != usual]
    return ", ".join(filter(None, dict.fromkeys(parts)))


def _rates(row: LiberoRow) -> dict[tuple[str, str], Rate]:
    found = {suite: Rate(sum(each.values()), len(each), 1) for suite in COLUMNS if (each := row.of(suite))}
    rates = {(SET, COLUMNS[suite]): rate for suite, rate in found.items()}
    if len(found) == len(COLUMNS) and len({rate.trials for rate in found.values()}) == 1:
        rates[SET, AVERAGE] = _together(found.values())
    return rates


def _together(rates: Iterable[Rate]) -> Rate:
    rates = list(rates)
    return Rate(sum(rate.successes for rate in rates), sum(rate.trials for rate in rates), 1)


def _comparisons(rows: dict[str, LiberoRow], reference: str) -> Iterable[Comparison]:
    for name, row in rows.items():
        for suite, column in COLUMNS.items():
            mine, theirs = row.of(suite), rows[reference].of(suite)
            if name != reference and (shared := [key for key in mine if key in theirs]):
                difference = paired_difference([mine[key] for key in shared], [theirs[key] for key in shared])
                yield Comparison(name, reference, column, difference, None)


def _notes(rows: dict[str, LiberoRow]) -> Iterable[str]:
    """What a reader has to know to compare the rates."""
    yield (
        f"{PAPER}: 500 trials a suite, of a policy that was trained on demonstrations by people. It may be compared "
        "only with policies that were, too."
    )
    for name, row in rows.items():
        for suite, column in COLUMNS.items():
            counts = Counter(task for task, _ in row.of(suite))
            if counts and (len(counts) < TASKS or len(set(counts.values())) > 1):
                tried = ", ".join(f"{task.partition('/')[2]} ({count})" for task, count in sorted(counts.items()))
                yield f"{name}, {column}: not all tasks alike, but trials of tasks {tried}."
        if row.missing:
            yield f"{name}: {row.missing} trials not reached."
