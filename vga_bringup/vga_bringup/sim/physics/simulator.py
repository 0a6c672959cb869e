"""The cell's physics: franky-sim's MuJoCo arm in the cell's scene, with a hand that grips with a given force.

Usable without any server: construct, `init()`, `start()`, command `robot`, `step()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import mujoco
import numpy as np
from franky_sim.mujoco_simulator import MujocoSimulator
from numpy.typing import NDArray

from vga_bringup.sim.franky_sim_patches.robot import CellRobot
from vga_bringup.sim.scene import objects, scene


class CellSimulator(MujocoSimulator):
    """The arm, the table with its objects, and cameras.

    home: joint angles (rad) the arm starts at. cameras: names of `views.VIEWS`. things: what is on the table.
    """

    def __init__(
        self, home: Sequence[float], cameras: Iterable[str] = (), things: objects.Objects = objects.TABLE
    ) -> None:
        super().__init__()
        self._home = home
        self._cameras = tuple(cameras)
        self._things = things

    @property
    def robot(self) -> CellRobot:
        """The arm with its hand."""
        return self._robots[0]

    @property
    def button_latched(self) -> bool:
        """Whether the button was pressed since the objects were last placed."""
        return objects.button_latched(self.data)

    def place(self, placements: Mapping[str, objects.Placement]) -> None:
        """Puts objects at rest on the table, the others stay; the button's lamp goes out."""
        objects.place(self.model, self.data, placements, self._things)
        mujoco.mj_forward(self.model, self.data)

    def reset(self, q: Sequence[float], placements: Mapping[str, objects.Placement]) -> None:
        """Everything at rest: the arm at `q` (rad), the hand open, objects as placed. Time starts at zero.

        Nothing is left of what was before, so that the same commands have the same consequences.
        """
        mujoco.mj_resetData(self.model, self.data)
        first = int(self.model.joint("robot0_fr3_joint1").qposadr[0])
        self.data.qpos[first : first + len(q)] = q
        self.robot.open_hand()
        self.place(placements)

    def advance(self) -> None:
        """One step without franky-sim's account of the state that libfranka would show, half of the cost of `step`."""
        self.robot._pre_step()
        self._step()

    def object_position(self, name: str) -> NDArray[np.float64]:
        """Position [3] of an object in the arm's base frame, m."""
        return self.data.body(name).xpos.copy()

    def _init(self) -> None:
        self.add_robot()  # appends the arm to the scene …
        self._robots[0] = CellRobot(self._home)  # … and creates a stock robot to drive it
        scene.furnish(self.scene, self._cameras, self._things)

    def _start(self) -> None:
        super()._start()
        has_button = objects.BUTTON in self._things
        self._button_address = int(self.model.joint(objects.BUTTON).qposadr[0]) if has_button else None
        self.place(objects.placements_of(self._things))

    def _step(self) -> None:
        mujoco.mj_step(self.model, self.data)
        if self._button_address is not None:
            objects.latch_button(self.data, self._button_address)


def compile_model(cameras: Iterable[str], things: objects.Objects = objects.TABLE) -> mujoco.MjModel:
    """The cell's model alone, to draw or to measure a state that the physics published."""
    simulator = CellSimulator(home=(0.0,) * 7, cameras=cameras, things=things)
    simulator.init()
    return mujoco.MjModel.from_xml_string(scene.text(simulator.scene))
