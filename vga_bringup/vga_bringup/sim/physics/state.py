"""The state of the physics, published for every process that draws, measures or judges it."""

from __future__ import annotations

import time
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from vga_bringup.sim.physics.shared import Segment, segment_path

# What is known outside the physics: everything that moves, and the lamp.
PUBLIC_STATE = int(
    mujoco.mjtState.mjSTATE_TIME
    | mujoco.mjtState.mjSTATE_QPOS
    | mujoco.mjtState.mjSTATE_MOCAP_POS
    | mujoco.mjtState.mjSTATE_MOCAP_QUAT
    | mujoco.mjtState.mjSTATE_USERDATA
)

SLOTS = 4


class Snapshot(NamedTuple):
    """One instant. wall_time: system time of its publication, s. state: MuJoCo's PUBLIC_STATE vector."""

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
    """Publishes the state of one simulated cell: fills slots in turn, and then raises `written`."""

    def __init__(self, address: str, model: mujoco.MjModel) -> None:
        layout = _layout(mujoco.mj_stateSize(model, PUBLIC_STATE))
        self._segment = Segment.create(segment_path(address, "state"), layout.itemsize)
        ring = np.ndarray((), layout, self._segment.memory)
        self._written, self._wall_times, self._states = ring["written"], ring["wall_time"], ring["state"]
        self._count = 0

    def write(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Publishes the state as of now."""
        slot = self._count % SLOTS
        self._wall_times[slot] = time.time()
        mujoco.mj_getState(model, data, self._states[slot], PUBLIC_STATE)
        self._count += 1
        self._written[...] = self._count

    def close(self) -> None:
        """Withdraws the state."""
        self._segment.close()


class StateReader:
    """Reads the state of a simulated cell. Raises FileNotFoundError while none is published."""

    def __init__(self, address: str) -> None:
        self._segment = Segment.attach(segment_path(address, "state"))
        size = len(self._segment.memory) // (8 * SLOTS) - 1
        ring = np.ndarray((), _layout(size), self._segment.memory)
        self._written, self._wall_times, self._states = ring["written"], ring["wall_time"], ring["state"]

    @property
    def writer(self) -> int:
        """Id of the process that publishes the state, or did when it was killed."""
        return self._segment.writer

    @property
    def withdrawn(self) -> bool:
        """Whether the cell was stopped or started anew: make another reader."""
        return self._segment.replaced

    def read(self) -> Snapshot:
        """The newest state; all zero before the first one."""
        while True:
            newest = max(int(self._written) - 1, 0)
            snapshot = Snapshot(float(self._wall_times[newest % SLOTS]), self._states[newest % SLOTS].copy())
            if int(self._written) < newest + SLOTS:  # else the writer has come round to this slot meanwhile
                return snapshot


def find_state(address: str, writer: int) -> StateReader | None:
    """A reader of the state that process `writer` publishes; None before it has published any.

    What a killed cell left behind, or one still running at this address, is not taken for it.
    """
    try:
        reader = StateReader(address)
    except FileNotFoundError:
        return None
    return reader if reader.writer == writer and reader.read().wall_time > 0 else None


def _layout(size: int) -> np.dtype:
    return np.dtype([("written", "u8"), ("wall_time", "f8", (SLOTS,)), ("state", "f8", (SLOTS, size))])
