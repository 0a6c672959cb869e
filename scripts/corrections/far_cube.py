"""The red cube around where demonstrations of `nano` had it: pick_cube, drawn farther, nearer and to the sides."""

from numpy.random import Generator
from vga_bringup.sim.tasks import Drawn, Range, Task, draw_apart
from vga_bringup.sim.tasks.skills import pick, picked

AROUND = Range(x=(0.34, 0.65), y=(-0.185, 0.195), yaw=(-0.75, 0.75))  # m, rad
KNOWN = Range(x=(0.395, 0.605), y=(-0.075, 0.148), yaw=(0.0, 0.0))  # and a little to its sides


def draw(random: Generator) -> Drawn:
    """A place of AROUND outside of KNOWN."""
    while True:
        placements = draw_apart(random, {"red_cube": AROUND})
        x, y, _ = placements["red_cube"]
        if not (KNOWN.x[0] < x < KNOWN.x[1] and KNOWN.y[0] < y < KNOWN.y[1]):
            return "red_cube", placements


TASK = Task("pick up the red cube", draw, picked, pick)
