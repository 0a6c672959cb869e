"""Depth as a policy sees it beside the truth and their difference, as the paper's figure 8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vga_policy.evaluate.geometry import GeometryComparison

SAMPLES = 3
SIDE = 1.9  # inches
WORST = 0.2  # m of difference shown in full color
INK = "#1f2933"
COLUMNS = ("image", "true depth", "predicted", "predicted less true")


def draw_geometry(comparison: GeometryComparison, views: Sequence[str], path: Path, samples: int = SAMPLES) -> None:
    """Writes the picture: a row a sample and view; samples are spread evenly."""
    chosen = np.unique(np.linspace(0, len(comparison.images) - 1, samples).round().astype(int))
    rows = [(int(sample), slot) for sample in chosen for slot in range(len(views))]
    figure = Figure(figsize=(SIDE * len(COLUMNS) + 1.1, SIDE * len(rows) + 0.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(COLUMNS), squeeze=False)
    for axes, title in zip(grid[0], COLUMNS, strict=True):
        axes.set_title(title, fontsize=10, color=INK)
    for line, (sample, slot) in zip(grid, rows, strict=True):
        mask = comparison.mask[sample, slot]
        true = np.where(mask, comparison.truth.depth[sample, slot], np.nan)
        found = comparison.prediction.depth[sample, slot]
        low, high = np.nanpercentile(true, (1, 85)) if mask.any() else (0.0, 1.0)
        line[0].imshow(comparison.images[sample, slot].transpose(1, 2, 0))
        line[0].set_ylabel(views[slot], fontsize=10, color=INK)
        line[1].imshow(true, cmap="viridis_r", vmin=low, vmax=high)
        shown = line[2].imshow(found, cmap="viridis_r", vmin=low, vmax=high)
        difference = line[3].imshow(found - true, cmap="RdBu_r", vmin=-WORST, vmax=WORST)
        figure.colorbar(shown, ax=line[2], label="m", shrink=0.85)
        figure.colorbar(difference, ax=line[3], label="m", shrink=0.85)
        for axes in line:
            _bare(axes)
    figure.savefig(path)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
