#!/usr/bin/env python3
"""Gives a checkpoint the reference pictures of its views, made of episodes: one that was trained before checkpoints
kept any, or whose last training saw cameras that moved.

    eval "$(make -s env)" && scripts/reference_views.py CHECKPOINT EPISODES...

Whatever else is in the checkpoint stays as it is.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from vga_policy.checkpoints import locate
from vga_policy.dataset.reference_views import reference_views
from vga_policy.episodes.listing import find_episodes
from vga_policy.viewpoint.reference import DIRECTORY


def main() -> int:
    """Makes and writes them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("episodes", nargs="+", type=Path)
    arguments = parser.parse_args()
    references, place = reference_views(find_episodes(arguments.episodes)), locate(arguments.checkpoint) / DIRECTORY
    shutil.rmtree(place, ignore_errors=True)
    references.save(place)
    for view in references:
        print(f"{place / view.name}.png: of {references.episodes} episodes, {view.still.mean():.0%} stood still")
    return 0


if __name__ == "__main__":
    sys.exit(main())
