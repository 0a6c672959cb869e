#!/usr/bin/env python3
"""Draws the pictures of two how-to guides, from the simulated cell: the board as each camera sees it, with the corners
that were found; and a camera that moved: its reference, the live picture, and where they differ.

    eval "$(make -s env)" && scripts/camera_pictures.py docs/how-to
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from vga_bringup.calibration.board import Board
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.scene.views import displaced
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema.cameras import ColorProfile
from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import locate
from vga_policy.viewpoint.compare import ViewComparison
from vga_policy.viewpoint.reference import DIRECTORY, Pixels, References

LARGE = ColorProfile(width=640, height=480)
BEFORE = [0.0, -0.5, 0.0, -2.4, 0.0, 1.9, 0.0]  # rad: the hand low, in the middle of the table
BOARDS = (("fixed_1", "board_in_hand", 1.527), ("fixed_2", "board_in_hand", -0.43), ("wrist", "board_on_table", 0.785))
MOVED, BY = "fixed_1", "fixed_1 0.02 0 0"


def boards() -> Pixels:
    """What the cameras see of the board, side by side, with its corners marked."""
    sim = load_cell(cell_path("sim"))
    cell = sim.model_copy(update={"cameras": [c.model_copy(update={"color": LARGE}) for c in sim.cameras]})
    drawn, simulated = [], InProcessCell(cell)
    for camera, task, last in BOARDS:
        simulated.reset(task, 0, arm_start=[*BEFORE[:6], last] if task == "board_in_hand" else cell.arm.home)
        picture = simulated.picture(camera).color.copy()
        sight = Board().find(picture)
        assert sight is not None, camera
        for x, y in sight.pixels:
            cv2.circle(picture, (round(x), round(y)), 6, (255, 40, 40), 2, cv2.LINE_AA)
        drawn.append(_titled(picture, f"{camera}: {len(sight.pixels)} corners"))
    simulated.close()
    return np.hstack(drawn)


def moved() -> Pixels:
    """Reference, live and difference of a camera that was moved, side by side, with the verdict."""
    references = References.load(locate("nano") / DIRECTORY)
    assert references is not None
    reference = next(view for view in references if view.name == MOVED)
    simulated = InProcessCell(load_cell(cell_path("sim")))
    simulated.reset("pick_cube", 7)
    simulated.move_camera(*displaced(BY))
    live = simulated.picture(MOVED).color
    simulated.close()
    verdict = ViewComparison(references).judge(MOVED, 0, live, hand_open=True)
    still = np.where(reference.still[..., None], reference.picture, reference.picture // 3)
    apart = np.abs(live.astype(int) - reference.picture).max(axis=-1)
    difference = np.repeat((255 - np.clip(4 * apart, 0, 255)).astype(np.uint8)[..., None], 3, axis=-1)
    print(verdict)
    parts = ((still, "reference; dark: it moved"), (live, "live, after 2 cm"), (difference, "difference"))
    return np.hstack([_titled(cv2.resize(part, (480, 360)), title) for part, title in parts])


def _titled(picture: NDArray[np.uint8], title: str) -> Pixels:
    bar = np.full((32, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, title, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([bar, picture])


def main() -> int:
    """Writes both pictures into the folder."""
    folder = Path(sys.argv[1])
    for name, picture in (("calibrate-cameras.png", boards()), ("camera-moved.png", moved())):
        image = Image.fromarray(picture)
        image.thumbnail((1100, 1100))
        image.quantize(128, Image.Quantize.FASTOCTREE).save(folder / name, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
