"""What the rooms of the robot hand each other: a reference, a chunk on its way in, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vga_policy.message_constants import Refusal


@dataclass(frozen=True)
class Reference:
    """What the arm is asked to do at one instant.

    q: float64 [7], rad. dq: float64 [7], rad/s. gripper_width: total opening, m.
    sequence: of the chunk in force, the newest where several are; None when none is executed (at rest or stopping).
    step: that chunk's first step whose due time has not passed, -1 when there is none.
    moving: a chunk or a stop is being executed.
    """

    q: NDArray[np.float64]
    dq: NDArray[np.float64]
    gripper_width: float
    sequence: int | None
    step: int
    moving: bool


@dataclass(frozen=True)
class ChunkRequest:
    """A chunk as it came off the wire: lists of any length holding any numbers.

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
class Verdict:
    """The decision on one chunk, in the terms of vga_msgs/ChunkVerdict (anchor in s; NaN when rejected)."""

    reason: str = ""
    message: str = ""
    anchor: float = math.nan
    steps_dropped: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the chunk is executed."""
        return not self.reason


class ChunkRefusedError(Exception):
    """The chunk cannot be executed."""

    def __init__(self, reason: Refusal, message: str) -> None:
        super().__init__(message)
        self.reason = reason
