"""One demonstration by the scripted operator in a FastCell, from the first look to the end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from vga_bringup.robot.modes import Mode
from vga_bringup.sim import views
from vga_bringup.sim.fast import FastCell
from vga_bringup.sim.operator.disturbance import Disturbance
from vga_bringup.sim.operator.operator import Leader, Operator
from vga_bringup.sim.operator.style import Style, random_for
from vga_bringup.sim.tasks import Judgement

LEADER_PERIOD = 0.01  # s between two readings of the leader
PATIENCE = 40.0  # s after which an operator who has not succeeded gives up
EPILOGUE = 0.3  # s recorded after success or failure

# How far a fixed camera may be displaced when its place is random, and the point it looks at, m.
CAMERA_RANGE, AIM_RANGE = (0.12, 0.12, 0.10), (0.05, 0.05, 0.04)


def demonstrate(
    cell: FastCell,
    task: str,
    seed: int,
    *,
    perturb: bool = False,
    random_cameras: bool = False,
    watch: Callable[[Leader], None] = lambda _: None,
) -> Judgement:
    """Lets the operator do a task in the scene of this seed; its outcome. Equal arguments give equal demonstrations.

    perturb: disturb it (operator.disturbance). random_cameras: draw the fixed cameras' places from the seed.
    watch: called with every reading of the leader, at the cell's time of that reading, before the arm follows it.
    """
    style = Style.of(task, seed)
    arrangement = cell.reset(task, seed, Mode.TELEOP)
    disturbance = Disturbance.of(arrangement, cell.cell.arm) if perturb else None
    if disturbance is not None:
        style = style.clumsier(random_for("clumsiness", task, seed)) if disturbance.clumsy else style
        if disturbance.arm_start is not None:
            cell.reset(task, seed, Mode.TELEOP, disturbance.arm_start)
    _place_cameras(cell, random_for("cameras", task, seed) if random_cameras else None)
    operator = Operator(cell.cell, arrangement, style, cell.proprioception[:7])
    ends = PATIENCE
    while cell.now < ends:
        leader = operator.act(cell.now, cell.sight())
        cell.lead(*leader)
        watch(leader)
        if disturbance is not None:
            cell.shove(disturbance.force(cell.now))
            if (velocity := disturbance.velocity(cell.now)) is not None:
                cell.push(arrangement.target, velocity)
        cell.step(LEADER_PERIOD)
        if ends == PATIENCE and (cell.task_state.success or cell.task_state.failed):
            ends = min(PATIENCE, cell.now + EPILOGUE)
    return cell.task_state


def _place_cameras(cell: FastCell, random: Generator | None) -> None:
    """Puts every fixed camera where it belongs, or near that place."""
    for camera in cell.cell.cameras:
        view = views.VIEWS[camera.name]
        if camera.role == "fixed" and random is not None:
            position = np.array(view.position) + random.uniform(-1, 1, 3) * CAMERA_RANGE
            target = np.array(view.target) + random.uniform(-1, 1, 3) * AIM_RANGE
            view = view._replace(position=tuple(position.tolist()), target=tuple(target.tolist()))
        cell.move_camera(camera.name, view)
