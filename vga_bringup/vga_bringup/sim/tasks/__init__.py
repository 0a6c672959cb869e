"""Tasks in the simulated cell: what a lab imports to write its own, see docs/how-to/add-a-task.md.

The cell's own tasks are made of the same: `builtin` and `skills`.
"""

from vga_policy.evaluate.environment import Judgement

from vga_bringup.sim.expert.scripted_expert import CAREFUL, FREE, Goal, Script
from vga_bringup.sim.expert.scripted_expert import ScriptedExpert as Expert
from vga_bringup.sim.scene.objects import TABLE, Object, Objects, Placement, box
from vga_bringup.sim.scene.task import Arrangement, Drawn, Range, Scene, Task, draw_apart

__all__ = [
    "CAREFUL",
    "FREE",
    "TABLE",
    "Arrangement",
    "Drawn",
    "Expert",
    "Goal",
    "Judgement",
    "Object",
    "Objects",
    "Placement",
    "Range",
    "Scene",
    "Script",
    "Task",
    "box",
    "draw_apart",
]
