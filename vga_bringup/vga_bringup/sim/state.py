"""The state of the physics, published for every process that draws, measures or judges it."""

from __future__ import annotations

import time
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from vga_bringup.sim.shared import Segment, segment_path

# What is known outside the physics: everything that moves, and the lamp.
PUBLIC_STATE = int(
    mujoco.mjtState.mjSTATE_TIME
    | mujoco.mjtState.mjSTATE_QPOS
    | mujoco.mjtState.mjSTATE_MOCAP_POS
    | mujoco.mjtState.mjSTATE_MOCAP_QUAT
    | mujoco.mjtState.mjSTATE_USERDATA
)

_SEQUENCE, _WALL_TIME, _STATE = 0, 1, 2


class Snapshot(NamedTuple):
    """One instant. sim_time, wall_time (system clock) in s; state: MuJoCo's PUBLIC_STATE vector."""

    wall_time: float
    state: NDArray[np.float64]

    @property
    def sim_time(self) -> float:
        """Simulated seconds."""
        return float(self.state[0])

    def load(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Puts the snapshot into `data` and computes where all bodies and cameras are."""
        mujoco.mj_setState(model, data, self.state, PUBLIC_STATE)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)


class StateWriter:
    """Publishes the state of one simulated cell. A sequence lock: odd while a write is under way."""

    def __init__(self, address: str, model: mujoco.MjModel) -> None:
        size = mujoco.mj_stateSize(model, PUBLIC_STATE)
        self._segment = Segment.create(segment_path(address, "state"), 8 * (_STATE + size))
        self._values = np.frombuffer(self._segment.buffer, np.float64)

    def write(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Publishes the state as of now."""
        self._values[_SEQUENCE] += 1
        self._values[_WALL_TIME] = time.time()
        mujoco.mj_getState(model, data, self._values[_STATE:], PUBLIC_STATE)
        self._values[_SEQUENCE] += 1

    def close(self) -> None:
        """Withdraws the state."""
        self._segment.close()


class StateReader:
    """Reads the state of a simulated cell. Raises FileNotFoundError while none is published."""

    def __init__(self, address: str) -> None:
        self._segment = Segment.attach(segment_path(address, "state"))
        self._values = np.frombuffer(self._segment.buffer, np.float64)

    @property
    def withdrawn(self) -> bool:
        """Whether the cell was stopped or started anew: make another reader."""
        return self._segment.replaced

    def read(self) -> Snapshot:
        """The newest state."""
        while True:
            before = self._values[_SEQUENCE]
            copy = self._values.copy()
            if before % 2 == 0 and self._values[_SEQUENCE] == before:
                return Snapshot(float(copy[_WALL_TIME]), copy[_STATE:])
            time.sleep(0)
