"""The scripted operator as a policy that knows each trial beforehand: what chunks, executor and cell allow at best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell
from vga_policy.observation.observation import ActionChunk, Observation
from vga_policy.units import SECOND

from vga_bringup.robot.reports import Tick
from vga_bringup.sim.demonstration import demonstrate
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.trials.in_process_environment import InProcessEnvironment


class OracleActor:
    """Knows the seed: demonstrates the trial in a cell of its own, then gives the reference of then as chunks.

    Step k is the reference at t_obs + (k+1) dt, which is what a training label is.
    """

    def __init__(self, cell: Cell, environment: InProcessEnvironment) -> None:
        self._dt, self._horizon = cell.dt, cell.action.horizon
        self._rate = cell.arm.tracking.rate_hz
        self._environment = environment
        self._demonstrator = InProcessCell(cell, self._on_tick)
        self._demonstrated: tuple[str, int] | None = None
        self._references: list[NDArray[np.float64]] = []

    def act(self, observation: Observation) -> ActionChunk:
        """The demonstration's continuation from the observation's time on."""
        arrangement = self._environment.arrangement
        if self._demonstrated != (arrangement.task, arrangement.seed):
            self._demonstrated = arrangement.task, arrangement.seed
            self._references = []
            demonstrate(self._demonstrator, arrangement.task, arrangement.seed)
        due = observation.stamp_ns / SECOND + self._dt * np.arange(1, self._horizon + 1)
        ticks = np.minimum(np.rint(due * self._rate).astype(int), len(self._references) - 1)
        steps = np.stack([self._references[tick] for tick in ticks])
        return ActionChunk(steps)

    def _on_tick(self, tick: Tick) -> None:
        self._references.append(np.append(tick.reference.q, tick.reference.gripper_width))
