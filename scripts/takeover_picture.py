#!/usr/bin/env python3
"""Draws who commanded the arm in an episode, and the reference it was asked to track: docs/how-to/correct.png.

    eval "$(make -s env)" && scripts/takeover_picture.py EPISODE OUT.png

EPISODE: recorded by `vga record --policy`, or collected by `vga collect --policy`.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from vga_policy.bags.reader import Bag
from vga_policy.dataset.demonstration import Demonstration
from vga_policy.dataset.origins import Origin
from vga_policy.episodes.topics import REFERENCE
from vga_policy.message_constants import Mode
from vga_policy.units import SECOND

SHOWN = (0, 1, 3, 5)  # joints, from 0
COLORS = ("#2f6db5", "#c4510a", "#2f855a", "#7b8794")
BANDS = {
    "the policy": "#ffffff",
    "the policy, shortly before a take-over": "#f6d5d5",
    "a person": "#d8e8d0",
    "nobody: the arm holds": "#e4e7eb",
}


def who(mode: int, origin: int) -> str:
    """Who commanded, as BANDS has it."""
    if mode == Mode.HOLD:
        return "nobody: the arm holds"
    if mode == Mode.TELEOP:
        return "a person"
    return "the policy, shortly before a take-over" if origin == Origin.PREINTERVENTION else "the policy"


def draw(episode: Path, picture: Path) -> None:
    """Writes the picture."""
    demonstration = Demonstration(episode)
    track = demonstration.reference
    t = (track.stamps - track.stamps[0]) / SECOND
    messages = list(Bag(episode).messages(REFERENCE))
    origins = demonstration.origins(track.stamps)
    commands = [who(message.mode, int(origin)) for message, origin in zip(messages, origins, strict=True)]
    velocity = np.array([message.velocity for message in messages])

    figure = Figure(figsize=(9.0, 4.6), dpi=110, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, values, unit in ((above, track.values, "reference, rad"), (below, velocity, "its velocity, rad/s")):
        known = set()
        for name, run in groupby(range(len(commands)), key=lambda i: commands[i]):
            span = list(run)
            label = None if name in known or axes is below else name
            known.add(name)
            axes.axvspan(t[span[0]], t[min(span[-1] + 1, len(t) - 1)], color=BANDS[name], label=label, lw=0)
        for joint, color in zip(SHOWN, COLORS, strict=True):
            axes.plot(t, values[:, joint], color=color, lw=1.3, label=None if axes is above else f"joint {joint + 1}")
        axes.set_ylabel(unit)
        axes.margins(x=0)
    below.set_xlabel("s")
    above.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=len(BANDS), frameon=False, fontsize=8)
    below.legend(loc="lower left", ncols=len(SHOWN), frameon=False, fontsize=8)
    figure.savefig(picture)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
