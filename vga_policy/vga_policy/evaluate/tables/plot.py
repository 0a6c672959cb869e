"""A table of evaluations as a picture, laid out as the paper's Table 3."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vga_policy.evaluate.tables.table import AVERAGE, CAMERA_SETS, Rate, Table
from vga_policy.evaluate.tables.text import percent

INK, PALE, LINE = "#1f2933", "#65717c", "#c9d1d8"
ROW, COLUMN, FIRST = 0.50, 1.25, 2.6  # inches


def draw_table(table: Table, path: Path) -> None:
    """Writes the picture; its format is that of the file's name."""
    longest = max(map(len, table.rows))
    first = max(FIRST, 0.085 * longest + 0.3)
    height = ROW * (len(table.rows) + 2) + 0.24 * (len(table.notes) + 1) + 0.3
    width = first + COLUMN * len(table.columns) + 0.1
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()

    def rule(y: float, left: float = 0.15, right: float = width - 0.15, weight: float = 0.8) -> None:
        axes.plot((left, right), (y, y), color=INK if weight > 0.8 else LINE, lw=weight, clip_on=False)

    center = {column: first + COLUMN * (i + 0.5) for i, column in enumerate(table.columns)}
    rule(0.15, weight=1.4)
    for camera_set in dict.fromkeys(camera_set for camera_set, _ in table.columns):
        places = [place for (of, _), place in center.items() if of == camera_set]
        name = CAMERA_SETS.get(camera_set, camera_set)
        axes.text(sum(places) / len(places), 0.40, name, ha="center", va="center", color=INK, fontsize=10)
        rule(0.60, places[0] - 0.55, places[-1] + 0.55)
    axes.text(0.2, 0.40 + ROW, "Method", va="center", color=PALE, fontsize=9.5)
    for (_, task), place in center.items():
        axes.text(place, 0.40 + ROW, _title(task), ha="center", va="center", color=PALE, fontsize=9.5)
    rule(0.15 + 2 * ROW)
    for index, (name, cells) in enumerate(table.rows.items()):
        y = 0.15 + ROW * (index + 2.5)
        axes.text(0.2, y, name, va="center", color=INK, fontsize=10)
        for column, place in center.items():
            if rate := cells.get(column):
                _cell(axes, place, y, rate, bold=column[1] == AVERAGE)
    bottom = 0.15 + ROW * (len(table.rows) + 2)
    rule(bottom, weight=1.4)
    notes = ("Success rate in % with Wilson's 95 % interval, and successes of trials.", *table.notes)
    for index, note in enumerate(notes):
        axes.text(0.2, bottom + 0.2 + 0.24 * index, note, va="center", color=PALE, fontsize=8)
    figure.savefig(path)


def _cell(axes: Axes, x: float, y: float, rate: Rate, *, bold: bool) -> None:
    low, high = map(percent, rate.interval)
    weight = "bold" if bold else "normal"
    text = axes.text
    text(x, y - 0.08, percent(rate.value), ha="center", va="center", color=INK, fontsize=11, weight=weight)
    text(
        x, y + 0.12, f"{low}–{high}   {rate.successes}/{rate.trials}", ha="center", va="center", color=PALE, fontsize=7
    )


def _title(task: str) -> str:
    return task.replace("_", " ").capitalize()
