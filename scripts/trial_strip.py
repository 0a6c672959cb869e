#!/usr/bin/env python3
"""Draws moments of filmed trials, a row each: docs/libero_trials.jpg.

eval "$(make -s env)" && scripts/trial_strip.py VIDEO... OUT.jpg

VIDEO: of `vga eval libero --videos 1` or `vga eval sim --videos 1`.
"""

from __future__ import annotations

import sys

import av
import numpy as np
from PIL import Image

MOMENTS = 5  # from the first frame to the last, which tells the outcome
WIDTH = 320  # pixels of each


def moments(video: str) -> list[Image.Image]:
    """The frames of a row."""
    with av.open(video) as container:
        frames = list(container.decode(video=0))
    chosen = [frames[round(at)].to_image() for at in np.linspace(0, len(frames) - 1, MOMENTS)]
    height = round(WIDTH * chosen[0].height / chosen[0].width)
    return [image.resize((WIDTH, height), Image.Resampling.LANCZOS) for image in chosen]


def main(*given: str) -> None:
    """Writes the picture that is named last."""
    rows = [moments(video) for video in given[:-1]]
    picture = Image.new("RGB", (MOMENTS * WIDTH, sum(row[0].height for row in rows)))
    top = 0
    for row in rows:
        for column, image in enumerate(row):
            picture.paste(image, (column * WIDTH, top))
        top += row[0].height
    picture.save(given[-1], quality=85)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
