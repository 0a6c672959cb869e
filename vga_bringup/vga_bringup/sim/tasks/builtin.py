"""The cell's own tasks, made as anybody's are: their names are in `vga_policy.names`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from vga_bringup.sim.scene.objects import BUTTON, Placement
from vga_bringup.sim.scene.task import Drawn, Range, Task, draw_apart
from vga_bringup.sim.tasks.skills import pick, picked, press, pressed, stack, stacked

VEGETABLES = ("cucumber", "carrot", "eggplant")

_TILT = np.radians(30)  # less than the 45 degrees at which a cube's grasps are equally far
_NEAR_Y = np.pi / 2

_CUBE_TO_PICK = Range(x=(0.40, 0.60), y=(-0.03, 0.11), yaw=(-_TILT, _TILT))
_CUBE_BELOW = Range(x=(0.48, 0.62), y=(-0.13, -0.03), yaw=(-_TILT, _TILT))
_BUTTON = Range(x=(0.42, 0.58), y=(0.17, 0.29), yaw=(-_TILT, _TILT))


def _draw_pick_cube(random: Generator) -> Drawn:
    return "red_cube", draw_apart(random, {"red_cube": _CUBE_TO_PICK})


def _draw_stack_cube(random: Generator) -> Drawn:
    return "red_cube", draw_apart(random, {"red_cube": _CUBE_TO_PICK, "green_cube": _CUBE_BELOW})


def _draw_press_button(random: Generator) -> Drawn:
    return BUTTON, draw_apart(random, {BUTTON: _BUTTON}, room=0.0)


_ROW = (0.36, 0.48, 0.60)  # m, x of the three places for a vegetable


def _draw_grasp_vegetable(random: Generator) -> Drawn:
    placements: dict[str, Placement] = {}
    for name, x in zip(random.permutation(VEGETABLES).tolist(), _ROW, strict=True):
        around = Range(x=(x - 0.01, x + 0.01), y=(-0.275, -0.235), yaw=(_NEAR_Y - 0.25, _NEAR_Y + 0.25))
        placements[name] = around.draw(random)
    return str(random.choice(VEGETABLES)), placements


TASKS: Mapping[str, Task] = {
    "pick_cube": Task("pick up the red cube", _draw_pick_cube, picked, pick),
    "press_button": Task("press the button", _draw_press_button, pressed, press),
    "stack_cube": Task("stack the red cube on the green cube", _draw_stack_cube, stacked, stack, support="green_cube"),
    "grasp_vegetable": Task("pick up the {target}", _draw_grasp_vegetable, picked, pick, decoys=VEGETABLES),
}
