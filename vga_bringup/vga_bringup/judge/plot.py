"""The judge's picture: of every joint, the speeds that were commanded over its position, against the robot's limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from vga_policy.cell.arm_models import ArmModel

from vga_bringup.demo.plot import BAD, GOOD, GRID, INK, PALE
from vga_bringup.judge.session import Outcome

BINS = 220
HEADROOM = 1.25  # of the speed axis over the limit
LIMIT = "#c4510a"


def draw(outcomes: Sequence[Outcome], model: ArmModel, report: dict[str, Any], path: Path) -> None:
    """Draws seven panels and the figures that matter. In torque mode speeds are those measured."""
    figure = Figure(figsize=(16, 8.6), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 4, hspace=0.3, wspace=0.2, left=0.045, right=0.985, top=0.87, bottom=0.06)
    figure.text(0.045, 0.945, "Commanded speed over position", fontsize=18, weight="bold", color=INK, va="center")
    about = f"rad/s over rad, of clean commands (measured in impedance mode); the {model.title}'s limit in orange"
    figure.text(0.045, 0.908, about, fontsize=11, color=PALE)
    word, color = ("passed", GOOD) if report["passed"] else ("failed", BAD)
    word = f"control {word}" if report["control"] else word
    badge = {"boxstyle": "round,pad=0.45", "facecolor": color, "edgecolor": "none"}
    figure.text(0.98, 0.935, word, fontsize=16, weight="bold", color="white", ha="right", va="center", bbox=badge)
    for joint in range(7):
        _panel(figure.add_subplot(grid[divmod(joint, 4)]), outcomes, model, joint, report)
    _figures(figure.add_subplot(grid[1, 3]), report)
    figure.savefig(path)


def _panel(axes: Axes, outcomes: Sequence[Outcome], model: ArmModel, joint: int, report: dict[str, Any]) -> None:
    margin = 0.05 * (model.upper[joint] - model.lower[joint])
    q_edges = np.linspace(model.lower[joint] - margin, model.upper[joint] + margin, BINS)
    top = HEADROOM * model.velocity[joint]
    speed_edges = np.linspace(-top, top, BINS)
    counts = np.zeros((BINS - 1, BINS - 1))
    for outcome in outcomes:
        speed = outcome.speed[:, joint].clip(-top, top)
        counts += np.histogram2d(outcome.q[:, joint], speed, (q_edges, speed_edges))[0]
    if counts.any():
        axes.pcolormesh(q_edges, speed_edges, np.where(counts > 0, counts, np.nan).T, cmap="Blues", norm=_scale(counts))
    postures = np.tile((model.lower + model.upper) / 2, (400, 1))
    postures[:, joint] = np.linspace(model.lower[joint], model.upper[joint], len(postures))
    for limit in model.velocity_limits(postures):
        axes.plot(postures[:, joint], limit[:, joint], color=LIMIT, lw=1.6)
    worst = list(report["worst_ratio"].get("velocity_commanded", {}).values())
    share = f": at most {worst[joint]:.3g} of the limit" if worst else ""
    axes.set_title(f"J{joint + 1}{share}", fontsize=10.5, color=INK, loc="left")
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=PALE, length=0)
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _scale(counts: np.ndarray) -> LogNorm:
    """Single commands show."""
    return LogNorm(vmin=0.05, vmax=max(float(counts.max()), 1.0))


def _figures(axes: Axes, report: dict[str, Any]) -> None:
    axes.set_axis_off()
    rows = [
        ("commands", f"{report['commands']}"),
        ("of those clean", f"{report['clean_commands']}"),
        ("lost cycles", f"{report['lost_cycles']} ({report['lost_share']:.1%})"),
        ("random chunks", f"{report['random_chunks_accepted']}"),
        ("stops, enforced", f"{report['enforced']['stops']}"),
        *((kind.replace("_", " "), f"{count}") for kind, count in report["errors_clean"].items()),
    ]
    for i, (label, value) in enumerate(rows):
        y = 1.0 - i * 0.075
        axes.text(0.0, y, label, fontsize=10.5, color=PALE, va="center")
        bad = i >= 5 and value != "0"
        axes.text(0.68, y, value, fontsize=10.5, color=BAD if bad else INK, va="center", weight="bold")
