"""From action chunks to the reference the arm tracks, as a pure function of (chunks received, clock).

All times are seconds (float) on one monotonic clock. Step k of a chunk is due at anchor + (k+1) dt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vga_policy.contract.cell import Cell
from vga_policy.contract.observation import ActionChunk


class Refused(Exception):
    """The chunk cannot be executed now. `reason` is a key of vga_msgs/ChunkVerdict."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Reference:
    """What the arm is asked to do at one instant.

    q: float64 [7], rad. dq: float64 [7], rad/s. gripper_width: total opening, m.
    sequence: of the newest chunk in force; None when no chunk is being executed (at rest or stopping).
    step: its first step whose due time has not passed, -1 when there is none.
    moving: a chunk or a stop is in force.
    """

    q: NDArray[np.float64]
    dq: NDArray[np.float64]
    gripper_width: float
    sequence: int | None
    step: int
    moving: bool


@dataclass(frozen=True)
class Admission:
    """How an accepted chunk is executed.

    anchor: start of its time axis, s: t_obs, or the start of the motion for a chunk observed at standstill.
    start: when it takes over, s. steps_dropped: steps already past by then, never executed.
    """

    anchor: float
    start: float
    steps_dropped: int


class Executor:
    """Turns chunks into one reference, continuous in position and velocity.

    One thread at a time may call `reset`, `offer`, `propose`, `accept` and `stop`; `reference` and `at_rest`
    may be called from another thread meanwhile. The executor serves one goal: call `stop` when it changes.
    """

    def __init__(self, cell: Cell) -> None: ...

    def reset(self, now: float, q: NDArray[np.float64], gripper_width: float) -> None:
        """Rests at `q` (rad) from `now` on and forgets everything before."""
        raise NotImplementedError

    def offer(self, now: float, chunk: ActionChunk, t_obs: float, sequence: int) -> Admission:
        """Executes a chunk observed at `t_obs`, without any safety check. Raises Refused."""
        raise NotImplementedError

    def stop(self, now: float) -> None:
        """Decelerates to rest from `now` on and forgets all chunks."""
        raise NotImplementedError

    def reference(self, now: float) -> Reference:
        """The reference at `now`, which may lie up to 2 s in the past."""
        raise NotImplementedError

    def at_rest(self, now: float) -> bool:
        """Whether the reference stands still from `now` on."""
        raise NotImplementedError
