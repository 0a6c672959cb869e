"""One demonstration by the scripted expert in an InProcessCell, from the first snapshot to the end."""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator
from vga_policy.evaluate.environment import Judgement
from vga_policy.message_constants import Mode

from vga_bringup.sim.expert.disturbance import Disturbance
from vga_bringup.sim.expert.scripted_expert import Leader, ScriptedExpert
from vga_bringup.sim.expert.style import Style, random_for
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.scene import places, views

LEADER_PERIOD = 0.01  # s between two readings of the leader
PATIENCE = 40.0  # s after which an expert who has not succeeded gives up
EPILOGUE = 0.3  # s recorded after success or failure

CAMERA_STAY = 0.5  # s until the fixed cameras are put elsewhere, where their places are random


def demonstrate(
    cell: InProcessCell,
    task: str,
    seed: int,
    *,
    perturb: bool = False,
    random_cameras: bool = False,
    watch: Callable[[Leader], None] = lambda _: None,
) -> Judgement:
    """Lets the expert do a task in the scene of this seed; its outcome. Equal arguments give equal demonstrations.

    perturb: disturb it (expert.disturbance). random_cameras: put the fixed cameras elsewhere every half a second
    (`places.in_front`), for a policy that is to know no place by heart. watch: called with every reading of the
    leader, at the cell's time of that reading, before the arm follows it.
    """
    style = Style.of(task, seed)
    arrangement = cell.reset(task, seed, Mode.TELEOP)
    disturbance = Disturbance.of(arrangement, cell.cell.arm) if perturb else None
    if disturbance is not None:
        style = style.clumsier(random_for("clumsiness", task, seed)) if disturbance.clumsy else style
        if disturbance.arm_start is not None:
            cell.reset(task, seed, Mode.TELEOP, disturbance.arm_start)
    cameras = random_for("cameras", task, seed) if random_cameras else None
    _place_cameras(cell, cameras)
    expert = ScriptedExpert(cell.cell, arrangement, style, cell.proprioception[:7])
    ends = PATIENCE
    stay = CAMERA_STAY
    while cell.now < ends:
        if cameras is not None and cell.now >= stay:
            _place_cameras(cell, cameras)
            stay += CAMERA_STAY
        leader = expert.act(cell.now, cell.snapshot())
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


def _place_cameras(cell: InProcessCell, random: Generator | None) -> None:
    """Puts every fixed camera where it belongs, or somewhere in front of the table."""
    for camera in cell.cell.cameras:
        view = views.VIEWS[camera.name]
        if camera.role == "fixed" and random is not None:
            view = places.in_front(random)
        cell.move_camera(camera.name, view)
