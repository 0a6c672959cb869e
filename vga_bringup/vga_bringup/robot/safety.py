"""The gate before the executor: every chunk is taken whole or rejected whole, with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vga_policy.contract.cell import Cell

from vga_bringup.robot.executor import Executor


@dataclass(frozen=True)
class ChunkRequest:
    """A chunk as it came off the wire; nothing in it is trusted.

    t_obs: s, on the executor's clock. goal: 16 bytes of the goal's UUID.
    joint_names; positions [H][7], rad; time_from_start [H], s; gripper_width [H], m.
    """

    t_obs: float
    goal: bytes
    sequence: int
    joint_names: Sequence[str]
    positions: Sequence[Sequence[float]]
    time_from_start: Sequence[float]
    gripper_width: Sequence[float]


@dataclass(frozen=True)
class Context:
    """What the driver knows when the chunk arrives.

    now: s. mode: "HOLD", "TELEOP" or "POLICY". goal: the live goal announced by a healthy heartbeat, None if none.
    """

    now: float
    mode: str
    goal: bytes | None


@dataclass(frozen=True)
class Verdict:
    """The decision on one chunk, in the terms of vga_msgs/ChunkVerdict (anchor in s; NaN when rejected)."""

    reason: str = ""
    message: str = ""
    anchor: float = float("nan")
    steps_dropped: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the chunk is executed."""
        return not self.reason


class SafetyFilter:
    """The cell's limits, applied to chunks and, as a last line of defence, to every reference sent."""

    def __init__(self, cell: Cell) -> None: ...

    def admit(self, executor: Executor, request: ChunkRequest, context: Context) -> Verdict:
        """Checks a chunk and, if nothing is wrong with it, hands it to the executor. Never raises on bad input."""
        raise NotImplementedError

    def tick_ok(self, q: NDArray[np.float64], dq: NDArray[np.float64]) -> bool:
        """Whether a reference is finite and within the position and velocity limits."""
        raise NotImplementedError
