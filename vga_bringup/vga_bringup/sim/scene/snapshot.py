"""What the expert sees of the cell: where things are, and what the gripper has got hold of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import mujoco
import numpy as np

from vga_bringup.robot.bounds.kinematics import Array
from vga_bringup.sim.scene.objects import BUTTON_TRAVEL, DEFAULT_PLACEMENTS, button_latched

CAP_TOP = 0.044  # m, of the button's cap above the table while nobody presses it


class Seen(NamedTuple):
    """An object: position [3] (m) of its origin and heading (rad) of its x axis, in the arm's base frame."""

    position: Array
    heading: float


class CellSnapshot(NamedTuple):
    """The cell at one instant. objects: by name. q: the arm's joint angles [7], rad. width: opening of the fingers, m.

    pressed: the button has been pressed. cap: height of the button's cap, m.
    """

    objects: Mapping[str, Seen]
    q: Array
    width: float
    pressed: bool
    cap: float


def snapshot(model: mujoco.MjModel, data: mujoco.MjData) -> CellSnapshot:
    """Of a simulated cell. Valid after `mj_kinematics`."""
    objects = {}
    for name in DEFAULT_PLACEMENTS:
        body = data.body(name)
        objects[name] = Seen(body.xpos.copy(), float(np.arctan2(body.xmat[3], body.xmat[0])))
    arm = model.joint("robot0_fr3_joint1").qposadr[0]
    fingers = [model.joint(f"robot0_finger_joint{finger}").qposadr[0] for finger in (1, 2)]
    return CellSnapshot(
        objects,
        data.qpos[arm : arm + 7].copy(),
        float(data.qpos[fingers].sum()),
        button_latched(data),
        CAP_TOP - float(np.clip(data.joint("button").qpos[0], 0.0, BUTTON_TRAVEL)),
    )
