"""The reference picture as a ghost over what the camera shows now, and by how much the two differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from vga_policy.files import whole_directory, whole_file

Pixels = NDArray[np.uint8]
Pictures = Mapping[str, Pixels]

DIRECTORY = "references"
BLUR = 5  # px: what a sensor's noise and JPEG leave of a difference must not count
DIFFERENT = 30  # of 255
HEIGHT = 360  # px of every camera on a sheet
BAR, INK, PAPER = 26, (31, 41, 51), (255, 255, 255)
NOW, WANTED = (255, 40, 40), (0, 210, 230)  # outlines
EDGES = (30, 90)  # of gradients, between which an edge begins and goes on
LEGEND = "outlined red: what is there now; cyan: where it should be. No outline is left when the scene is set"


class References:
    """What every camera shows when a start is set right: PNG files in the study's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / DIRECTORY

    def of(self, task: str, seed: int) -> dict[str, Pixels]:
        """By camera; empty where this start was never set."""
        files = sorted(self._place(task, seed).glob("*.png"))
        return {file.stem: np.asarray(Image.open(file).convert("RGB")) for file in files}

    def keep(self, task: str, seed: int, pictures: Pictures) -> None:
        """Keeps the pictures of a start."""
        with whole_directory(self._place(task, seed)) as directory:
            for camera, picture in pictures.items():
                Image.fromarray(picture).save(directory / f"{camera}.png")

    def _place(self, task: str, seed: int) -> Path:
        return self._folder / f"{task}-{seed}"


def reset_errors(references: Pictures, now: Pictures) -> dict[str, float]:
    """Share of pixels, 0 to 1, that differ, by camera; 1 for another size of picture, nothing for one not there."""
    return {name: _different(references[name], now[name]) for name in references if name in now}


def _different(reference: Pixels, now: Pixels) -> float:
    return float(_differs(reference, now).mean()) if reference.shape == now.shape else 1.0


def _differs(reference: Pixels, now: Pixels) -> NDArray[np.bool_]:
    """Which pixels [H, W] do, beyond noise."""
    before, after = (cv2.blur(picture, (BLUR, BLUR)).astype(np.int16) for picture in (reference, now))
    light = np.median(after - before, axis=(0, 1))  # a cloud before the sun moves no cube
    return np.abs(after - before - light).max(axis=-1) > DIFFERENT


def ghost(reference: Pixels, now: Pixels) -> Pixels:
    """Both at half strength; where they differ, the outlines of what is there now and of what should be."""
    if reference.shape != now.shape:
        reference = cv2.resize(reference, now.shape[1::-1])
    both = cv2.addWeighted(reference, 0.5, now, 0.5, 0.0)
    differ = cv2.dilate(_differs(reference, now).astype(np.uint8), np.ones((2 * BLUR, 2 * BLUR), np.uint8)) > 0
    for picture, color in ((now, NOW), (reference, WANTED)):
        both[differ & (cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), *EDGES) > 0)] = color
    return both


def sheet(references: Pictures, now: Pictures, words: str) -> Image.Image:
    """All cameras side by side, each as a ghost where it has a reference; below, the words and the reset error."""
    errors = reset_errors(references, now)
    views = [(name, ghost(references[name], shown) if name in errors else shown) for name, shown in now.items()]
    scaled = [(name, Image.fromarray(view).resize(_size(view), Image.Resampling.BILINEAR)) for name, view in views]
    whole = Image.new("RGB", (sum(view.width for _, view in scaled), HEIGHT + 3 * BAR), PAPER)
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(15)
    left = 0
    for name, view in scaled:
        whole.paste(view, (left, BAR))
        told = f": {100 * errors[name]:.2f} % differs" if name in errors else ""
        draw.text((left + 8, 4), name + told, INK, font)
        left += view.width
    draw.text((8, HEIGHT + BAR + 4), words, INK, font)
    draw.text((8, HEIGHT + 2 * BAR + 4), LEGEND if errors else "no reference yet: this becomes it", INK, font)
    return whole


def write(image: Image.Image, path: Path) -> None:
    """Writes it, whole at every instant."""
    with whole_file(path) as unfinished:
        image.save(unfinished, format="PNG")


def _size(view: Pixels) -> tuple[int, int]:
    height, width = view.shape[:2]
    return round(width * HEIGHT / height), HEIGHT
