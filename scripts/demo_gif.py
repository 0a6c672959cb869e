#!/usr/bin/env python3
"""Makes the README's picture of the video that `make demo` leaves.

eval "$(make -s env)" && scripts/demo_gif.py out/demo/demo.mp4 docs/demo.gif
"""

from __future__ import annotations

import sys

import av
from PIL import Image

WIDTH = 640  # pixels
SHARE = 5  # of the video's 15 frames a second, one in so many
COLORS = 128
PAUSE = 1500  # ms on the last frame


def main(video: str, gif: str) -> None:
    """Writes `gif`: the frames of `video`, fewer, smaller and in one palette."""
    with av.open(video) as container:
        decoded = [frame.to_image() for frame in list(container.decode(video=0))[::SHARE]]
        rate = float(container.streams.video[0].average_rate or 15)
    height = round(WIDTH * decoded[0].height / decoded[0].width)
    frames = [image.resize((WIDTH, height), Image.Resampling.LANCZOS) for image in decoded]
    ends = Image.new("RGB", (WIDTH, 2 * height))  # the palette comes from the first frame and the last
    ends.paste(frames[0])
    ends.paste(frames[-1], (0, height))
    palette = ends.quantize(COLORS, method=Image.Quantize.FASTOCTREE)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [round(1000 * SHARE / rate)] * (len(drawn) - 1) + [PAUSE]
    drawn[0].save(gif, save_all=True, append_images=drawn[1:], duration=times, loop=0, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
