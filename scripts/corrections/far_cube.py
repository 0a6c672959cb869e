"""The red cube where no demonstration of `nano` had it: pick_cube, drawn from all around where that task draws it."""

from numpy.random import Generator
from vga_bringup.sim.tasks import Drawn, Range, Task, draw_apart
from vga_bringup.sim.tasks.skills import pick, picked

ROUND = Range(x=(0.33, 0.66), y=(-0.16, 0.21), yaw=(-0.75, 0.75))  # m, rad
KNOWN = Range(x=(0.38, 0.62), y=(-0.06, 0.14), yaw=(0.0, 0.0))  # and a little around


def draw(random: Generator) -> Drawn:
    """A place of ROUND outside of KNOWN."""
    while True:
        placements = draw_apart(random, {"red_cube": ROUND})
        x, y, _ = placements["red_cube"]
        if not (KNOWN.x[0] < x < KNOWN.x[1] and KNOWN.y[0] < y < KNOWN.y[1]):
            return "red_cube", placements


TASK = Task("pick up the red cube", draw, picked, pick)
