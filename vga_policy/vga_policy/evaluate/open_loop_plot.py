"""Predicted chunks over what was recorded, one episode, and the mean error of every joint and step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vga_policy.cell.schema import ARM_JOINTS, Cell
from vga_policy.evaluate.open_loop import OpenLoop
from vga_policy.units import SECOND

INK, RECORDED, PREDICTED = "#1f2933", "#9aa5b1", "#d1495b"
COLORS = ("#1b6ca8", "#e08e0b", "#2e8b57", "#b5332e", "#7a5ea8", "#8a5a44", "#c2559d", "#65717c")
CHUNKS_SHOWN = 40


def draw_open_loop(result: OpenLoop, episode: OpenLoop, cell: Cell, path: Path) -> None:
    """Writes the picture: `episode`, all samples of one, above the errors of `result`."""
    figure = Figure(figsize=(13.0, 8.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 4, height_ratios=(1, 1, 0.9))
    names = [*cell.arm.joint_names, "gripper"]
    for channel, name in enumerate(names):
        axes = figure.add_subplot(grid[channel // 4, channel % 4])
        _follow(axes, episode, channel, cell.dt)
        axes.set_title(name, fontsize=10, color=INK)
        axes.set_ylabel("rad" if channel < ARM_JOINTS else "m", fontsize=8)
        if channel == 0:
            axes.legend(fontsize=8, frameon=False)
    errors = figure.add_subplot(grid[2, :])
    steps = np.arange(1, result.predicted.shape[1] + 1)
    for channel, name in enumerate(names):
        line = 1e3 * result.errors()[:, channel]
        errors.plot(steps * cell.dt, line, color=COLORS[channel], marker="o", ms=3, lw=1.2, label=name)
    still = 1e3 * result.standing_still()[:, :ARM_JOINTS].mean(axis=1)
    errors.plot(steps * cell.dt, still, color=INK, lw=1.2, ls="--", label="standing still, mean joint")
    errors.set(xlabel="time after t_obs, s", ylabel="mean error, mrad (gripper: mm)", ylim=(0, None))
    errors.legend(fontsize=8, frameon=False, ncols=5)
    for axes in figure.axes:
        axes.tick_params(labelsize=8, colors=INK)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _follow(axes: Axes, episode: OpenLoop, channel: int, dt: float) -> None:
    """The recorded first steps over time, and the predicted chunks that start along the way."""
    ahead = dt * np.arange(1, episode.predicted.shape[1] + 1)
    times = (episode.stamps - episode.stamps[0]) / SECOND
    axes.plot(times + ahead[0], episode.recorded[:, 0, channel], color=RECORDED, lw=2.5, label="recorded")
    shown = np.unique(np.linspace(0, len(times) - 1, CHUNKS_SHOWN).round().astype(int))
    for row in shown:
        label = "predicted" if row == shown[0] else None
        axes.plot(times[row] + ahead, episode.predicted[row, :, channel], color=PREDICTED, lw=0.8, label=label)
    axes.margins(x=0.01)
