"""A run's curves as a picture: what each step cost, and what validation said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vga_policy.train.runs.run import Run

POINTS = 200  # of a training curve: each is the mean of as many steps as that takes
LABELS = {
    "action": "action L1, normalized",
    "keyframe": "keyframe L1, normalized",
    "camera": "camera loss",
    "depth": "depth loss",
    "abs_rel": "depth error, relative",
    "rotation_deg": "camera rotation error, °",
    "translation": "camera translation error",
}


def draw_curves(run: Run) -> None:
    """Writes curves.png into the run, one panel for each of LABELS that it logged; nothing before its first steps."""
    lines = run.curve()
    training = [line for line in lines if "validation" not in line]
    validation = [{"step": line["step"], **line["validation"]} for line in lines if "validation" in line]
    shown = [name for name in LABELS if any(name in line for line in (*training, *validation))]
    if not shown:
        return
    figure = Figure(figsize=(4 * min(3, len(shown)), 2.8 * -(-len(shown) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(shown):
        axes = figure.add_subplot(-(-len(shown) // 3), min(3, len(shown)), place + 1)
        _draw(axes, training, name, "training")
        _draw(axes, validation, name, "validation")
        axes.set(title=LABELS[name], xlabel="step")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(run.directory / "curves.png", dpi=100)


def _draw(axes: Axes, lines: Sequence[Mapping[str, Any]], name: str, label: str) -> None:
    values = np.array([(line["step"], line[name]) for line in lines if name in line], dtype=float)
    if not len(values):
        return
    means = np.array([part.mean(axis=0) for part in np.array_split(values, min(POINTS, len(values)))])
    style = "C1o-" if label == "validation" else "C0-"
    axes.plot(means[:, 0], means[:, 1], style, markersize=3, linewidth=1, label=label)
    if (means[:, 1] > 0).all():
        axes.set_yscale("log")
