#!/usr/bin/env python3
"""Draws the paper's figure 7 (b): success over the steps of trainings, and their held-out action error.

eval "$(make -s env)" && scripts/success_curve.py OUT PICTURE.png

OUT: of scripts/train_libero.sh with PARTS=curve. It has trainings in curve/KIND_SEED, and results of the policies kept
on the way in eval/curve/KIND_SEED/kept/STEP. Prints them, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from vga_policy.train.runs.run import Run

KINDS = {"joint": ("with depth and cameras", "#0b6e4f"), "alone": ("actions alone", "#c8553d")}
INK, PALE = "#1f2933", "#65717c"


def successes(directory: Path) -> list[tuple[int, float, float, float, str]]:
    """Step, rate and the ends of its interval, in %, and its trials in words, of every policy that was tried."""
    found = []
    for file in sorted(directory.glob("kept/*/results.json")):
        result = json.loads(file.read_text())
        low, high = result["interval"]
        trials = f"{result['successes']} of {result['n']}"
        found.append((int(file.parent.name), 100 * result["success_rate"], 100 * low, 100 * high, trials))
    return found


def errors(run: Path) -> list[tuple[int, float]]:
    """Step and held-out action error of every validation."""
    return [(line["step"], line["validation"]["action"]) for line in Run(run).curve() if "validation" in line]


def dressed(axes: Axes, title: str) -> None:
    """Names a panel, and takes away what it does not need."""
    axes.set_title(title, color=INK, fontsize=10, loc="left")
    axes.set_xlabel("training steps", color=PALE, fontsize=9)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=PALE, labelsize=8)
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def main(out: str, picture: str) -> None:
    """Writes the picture."""
    figure = Figure(figsize=(9, 3.4), dpi=130, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for place, run in enumerate(sorted(Path(out, "curve").iterdir())):
        kind, seed = run.name.rsplit("_", 1)
        words, color = KINDS[kind]
        name = f"{words}, seed {seed}"
        if points := successes(Path(out, "eval/curve", run.name)):
            steps, rates, lows, highs, told = zip(*points, strict=True)
            shifted = [step + 8 * place for step in steps]  # so that bars do not cover each other
            left.plot(shifted, rates, color=color, lw=1.6, marker="o", label=name)
            left.vlines(shifted, lows, highs, color=color, lw=0.8)
            for row in zip(steps, told, rates, lows, highs, strict=True):
                print(f"{run.name} step {row[0]}: {row[1]}, {row[2]:.0f} % ({row[3]:.1f} … {row[4]:.1f})")
        judged = errors(run)
        steps, values = zip(*judged, strict=True)
        right.plot(steps, values, color=color, lw=1.6, marker="o", label=name)
        print(f"{run.name}: held-out action error", ", ".join(f"{v:.3f} at {s}" for s, v in judged))
    dressed(left, "success, % (Wilson's 95 % intervals)")
    dressed(right, "held-out action error")
    figure.savefig(picture)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
