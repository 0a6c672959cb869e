"""What the expert sees of the cell: where things are, and what the gripper has got hold of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import mujoco
import numpy as np

from vga_bringup.robot.bounds.kinematics import Array
from vga_bringup.sim.scene.objects import button_latched


class Seen(NamedTuple):
    """An object: position [3] (m) of its origin and heading (rad) of its x axis, in the arm's base frame."""

    position: Array
    heading: float


class CellSnapshot(NamedTuple):
    """The cell at one instant. objects: by name. q: the arm's joint angles [7], rad. width: opening of the fingers, m.

    pressed: the button has been pressed.
    """

    objects: Mapping[str, Seen]
    q: Array
    width: float
    pressed: bool


def snapshot(model: mujoco.MjModel, data: mujoco.MjData, names: Iterable[str]) -> CellSnapshot:
    """Of a simulated cell with objects of these names. Valid after `mj_kinematics`."""
    objects = {}
    for name in names:
        body = data.body(name)
        objects[name] = Seen(body.xpos.copy(), float(np.arctan2(body.xmat[3], body.xmat[0])))
    arm = model.joint("robot0_fr3_joint1").qposadr[0]
    fingers = [model.joint(f"robot0_finger_joint{finger}").qposadr[0] for finger in (1, 2)]
    return CellSnapshot(
        objects,
        data.qpos[arm : arm + 7].copy(),
        float(data.qpos[fingers].sum()),
        button_latched(data),
    )
