"""What the driver tells others: its state, every control tick, and how it is doing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from vga_policy.cadence import CadenceReport
from vga_policy.message_constants import Mode

from vga_bringup.robot.arm import ArmState, Setting
from vga_bringup.robot.gripper import GripperState
from vga_bringup.robot.motion.teleoperation import TeleopFigures
from vga_bringup.robot.safety.modes import GoalId
from vga_bringup.robot.types import Reference, Verdict


@dataclass(frozen=True)
class DriverState:
    """What others need to know, in the terms of vga_msgs/DriverState."""

    mode: Mode
    hold_reason: str
    needs_recovery: bool
    connected: bool
    at_rest: bool
    goal: GoalId | None
    robot_mode: str
    tracking: str
    success_rate: float

    def differs(self, other: DriverState | None) -> bool:
        """Whether the change is worth an announcement; the success rate alone is not."""
        return other is None or replace(self, success_rate=0.0) != replace(other, success_rate=0.0)


@dataclass(frozen=True)
class Tick:
    """One control tick with a new robot state.

    read_ns, reference_ns: system clock when the state was read and when the reference was in force.
    """

    read_ns: int
    reference_ns: int
    arm: ArmState
    gripper: GripperState
    reference: Reference
    mode: Mode
    goal: GoalId | None


@dataclass
class ChunkCounts:
    """What became of the chunks since the start. rejected: by reason. steps_dropped: of accepted ones, past by then."""

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    steps_dropped: int = 0

    def add(self, verdict: Verdict) -> None:
        """Counts one more."""
        if verdict.accepted:
            self.accepted += 1
            self.steps_dropped += verdict.steps_dropped
        else:
            self.rejected[verdict.reason] += 1


@dataclass(frozen=True)
class Figures:
    """How the driver is doing. tracking_rms, tracking_worst: rad, over the ticks since the last report."""

    state: DriverState
    accepted: int
    rejected: dict[str, int]
    steps_dropped: int
    tracking_rms: float
    tracking_worst: float
    cadence: CadenceReport
    settings: tuple[Setting, ...]
    gripper: GripperState
    teleop: TeleopFigures


class Listener(Protocol):
    """Who is told. Called in the control thread: be quick."""

    def on_tick(self, tick: Tick) -> None:
        """Every tick while connected."""

    def on_state(self, state: DriverState) -> None:
        """Every change of state."""


class TrackingError:
    """Distance between reference and arm, gathered over many ticks."""

    def __init__(self) -> None:
        self._squares = 0.0
        self._worst = 0.0
        self._samples = 0

    def add(self, error: NDArray[np.float64]) -> None:
        """One tick's absolute joint errors [7], rad."""
        self._squares += float(np.mean(error**2))
        self._worst = max(self._worst, float(np.max(error)))
        self._samples += 1

    def report(self) -> tuple[float, float]:
        """Root mean square and worst since the last report, rad; NaN when the arm followed nothing."""
        if self._samples == 0:
            return math.nan, math.nan
        rms, worst = math.sqrt(self._squares / self._samples), self._worst
        self._squares, self._worst, self._samples = 0.0, 0.0, 0
        return rms, worst
