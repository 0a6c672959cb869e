"""A table of evaluations as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from vga_policy.evaluate.intervals import Interval
from vga_policy.evaluate.tables.table import Rate, Table, heading


def markdown(table: Table) -> str:
    """The table, its notes, and the comparisons."""
    lines = _markdown_table(
        ["Method", *(heading(column) for column in table.columns)],
        [[name, *(_in_words(cells.get(column)) for column in table.columns)] for name, cells in table.rows.items()],
    )
    lines += [
        "",
        "Success rate in % [95 % interval, Wilson] and successes of trials.",
        *(f"{n}  " for n in table.notes),
    ]
    if table.comparisons:
        several = any(comparison.across_runs for comparison in table.comparisons)
        header = ["Compared", "Trials", "Difference, points [95 %, paired]", "Only first / second", "p (McNemar)"]
        rows = [
            [
                f"{item.first} less {item.second}, {item.column}",
                str(item.difference.trials),
                _points(item.difference.value, item.difference.interval),
                f"{item.difference.gained} / {item.difference.lost}",
                f"{item.difference.p_value:.2g}",
                *([_bounds(item.across_runs) if item.across_runs else ""] if several else []),
            ]
            for item in table.comparisons
        ]
        lines += ["", *_markdown_table(header + (["Over trainings [95 %]"] if several else []), rows)]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """One line a cell: method, view, task, successes, trials, runs, success_rate, low, high."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", "view", "task", "successes", "trials", "runs", "success_rate", "low", "high"))
    for name, cells in table.rows.items():
        for (camera_set, task), rate in cells.items():
            figures = (f"{figure:.4f}" for figure in (rate.value, *rate.interval))
            writer.writerow((name, camera_set, task, rate.successes, rate.trials, rate.runs, *figures))
    return text.getvalue()


def percent(share: float) -> str:
    """A share in %, with a decimal where it has one."""
    return f"{100 * share + 1e-9:.1f}".removesuffix(".0")  # halves go up, as people round them


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_markdown_row(header), _markdown_row(["---"] * len(header)), *map(_markdown_row, rows)]


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _in_words(rate: Rate | None) -> str:
    if rate is None:
        return ""
    low, high = map(percent, rate.interval)
    return f"{percent(rate.value)} [{low}, {high}] {rate.successes}/{rate.trials}"


def _points(value: float, interval: Interval) -> str:
    return f"{100 * value:+.1f} {_bounds(interval)}"


def _bounds(interval: Interval) -> str:
    low, high = (100 * bound for bound in interval)
    return f"[{low:+.1f}, {high:+.1f}]"
