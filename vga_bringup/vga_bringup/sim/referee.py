"""Sets the scene of a running simulated cell, and judges the trial from the published state of its physics."""

from __future__ import annotations

import time

import mujoco
import numpy as np
from vga_policy.cell.schema import Cell
from vga_policy.evaluate.environment import Judgement

from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.sim.physics.placing import POLL_S, PlacementOutbox
from vga_bringup.sim.physics.simulator import compile_model
from vga_bringup.sim.physics.state import Snapshot, StateReader
from vga_bringup.sim.scene.objects import TABLE, Objects
from vga_bringup.sim.scene.task import Arrangement, Judge
from vga_bringup.sim.tasks.registry import arrange

PATIENCE = 1.0  # s the physics may take to place the objects
CLEARANCE = 0.15  # m the hand must be above the table while they are placed


class ArrangeError(RuntimeError):
    """The scene cannot be set now. The message says why and what to do."""


class Referee:
    """One trial after another in the simulated cell whose state `state` reads, with `things` on its table."""

    def __init__(self, cell: Cell, model: mujoco.MjModel, state: StateReader, things: Objects = TABLE) -> None:
        self._things = things
        self._address = cell.arm.ip
        self._model = model
        self._data = mujoco.MjData(model)
        self._state = state
        self._kinematics = Kinematics(cell.arm)
        self._first_joint = int(model.joint("robot0_fr3_joint1").qposadr[0])
        self._judge: Judge | None = None
        self.arrangement: Arrangement | None = None

    def arrange(self, task: str, seed: int) -> Arrangement:
        """Places the objects for a trial. Raises TaskError, or ArrangeError."""
        wanted = arrange(task, seed)
        if wanted.definition.objects != self._things:
            raise ArrangeError(f"task '{task}' has other objects than are on the table: vga sim --task {task}")
        self._load(self._state.read())
        q = np.array(self._data.qpos[self._first_joint : self._first_joint + 7])
        if (height := float(self._kinematics.tcp(q).position[2])) < CLEARANCE:
            raise ArrangeError(f"the hand is {height:.2f} m above the table, among the objects: home the arm first")
        try:
            placed = PlacementOutbox(self._address, self._things).place(wanted.placements, PATIENCE)
        except FileNotFoundError:
            placed = False
        if not placed:
            raise ArrangeError("the physics does not answer: is the simulated cell running?")
        self._await_newer_state()
        self._judge, self.arrangement = Judge(self._model, wanted), wanted
        return wanted

    def judge(self) -> Judgement:
        """How the trial stands; call it ten times a second."""
        if self._judge is None:
            return Judgement(False, False, "nothing arranged yet")
        snapshot = self._state.read()
        self._load(snapshot)
        return self._judge.judge(snapshot.sim_time, self._data)

    def _load(self, snapshot: Snapshot) -> None:
        snapshot.load(self._model, self._data)
        mujoco.mj_fwdPosition(self._model, self._data)  # with contacts

    def _await_newer_state(self) -> None:
        """Until the state published is one of the new scene."""
        before, deadline = self._state.read().sim_time, time.monotonic() + PATIENCE
        while self._state.read().sim_time <= before and time.monotonic() < deadline:
            time.sleep(POLL_S)


def cell_referee(cell: Cell, state: StateReader, things: Objects = TABLE) -> Referee:
    """A referee of this cell, with a model of its own."""
    return Referee(cell, compile_model([camera.name for camera in cell.cameras], things), state, things)
