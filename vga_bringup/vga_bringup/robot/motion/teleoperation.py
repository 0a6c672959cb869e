"""The driver's end of teleoperation: the leader's messages checked, the arm following them, and figures of both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.finger import hand_opening
from vga_policy.cell.schema import Cell

from vga_bringup.robot.motion.following import MAX_MISALIGNMENT, Following, Limiting
from vga_bringup.robot.motion.trajectory import Curve
from vga_bringup.robot.types import Reference

Vector = NDArray[np.float64]

MAX_AGE = 0.1  # s since the serial read beyond which a sample is not used
MAX_LEAD = 0.01  # s that it may lie in the future (clock error between hosts)


@dataclass(frozen=True)
class LeaderSample:
    """A message of the leader as it came off the wire: lists of any length holding any numbers.

    read_at: when the servos were read, s, on the control loop's clock. names; positions in rad, of the finger in m.
    here: whether on this computer.
    """

    read_at: float
    names: Sequence[str]
    positions: Sequence[float]
    here: bool = False


@dataclass(frozen=True)
class TeleopFigures:
    """How teleoperation is doing.

    samples: taken since the last report. ignored: since the start, by reason: "names", "nonfinite", "old", "future",
        "order". latencies: s from the read of a sample to the first command sent to the arm that knows it, since the
        last report. approaching: on the slow way to the leader. limited_since: control periods since the last report
        in which a limit was in the way. offset: the arm less the leader since a take-over, rad, [7]; zero without.
        gripping: whether the hand follows the trigger.
    """

    samples: int
    ignored: dict[str, int]
    latencies: tuple[float, ...]
    approaching: bool
    limiting: Limiting
    limited_since: dict[str, int]
    offset: tuple[float, ...]
    gripping: bool


class Teleoperation:
    """Takes the leader's samples and says what the arm is asked to do. One thread at a time may call it."""

    announcement = "the arm goes to the leader slowly, then follows it"
    taken_over = "the arm follows the leader's motion from where both are"

    def __init__(self, cell: Cell) -> None:
        self._names = cell.joint_state_names
        self._following = Following(cell)
        self._engaged = False
        self._newest: float | None = None  # when the newest sample was read that no command knows yet
        self._samples = 0
        self._ignored: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._limited: Counter[str] = Counter()  # at the last report

    @property
    def drives_gripper(self) -> bool:
        """Whether the trigger commands the hand: not before the arm is at the leader, or the trigger as the hand is."""
        return self._engaged and self._following.gripping

    def take(self, sample: LeaderSample, now: float) -> str:
        """Takes a sample, or counts and returns why it cannot be used; empty when taken. Never raises on bad input."""
        reason, words = self._refusal(sample, now)
        if reason:
            self._ignored[reason] += 1
            return words
        self._samples += 1
        self._following.leader(sample.read_at, np.array(sample.positions[:7]), hand_opening(sample.positions[7]))
        self._newest = sample.read_at
        return ""

    def misalignment(self, q: Vector) -> str:
        """Why an arm at `q` (rad) must not be given to the leader; empty when it may."""
        far = self._following.misalignment(q)
        return f"the leader is away from the arm in {far}: bring it within {MAX_MISALIGNMENT:g} rad" if far else ""

    def engage(self, now: float, q: Vector, width: float) -> None:
        """Begins at rest at `q` (rad), the hand commanded to `width` (m)."""
        self._following.reset(now, q, width)
        self._engaged = True

    def can_take_over(self, q: Vector, dq: Vector) -> bool:
        """Whether an arm at `q` (rad) moving at `dq` (rad/s) may be given to the leader: braking keeps all limits."""
        return self._following.can_join(q, dq)

    def take_over(self, now: float, q: Vector, dq: Vector, width: float) -> None:
        """Begins at `q` (rad) moving at `dq` (rad/s), the hand commanded to `width` (m), wherever the leader is."""
        self._following.join(now, q, dq, width)
        self._engaged = True

    def way(self) -> Curve:
        """What it has asked for of late, and the way to rest from there."""
        return self._following.way()

    def release(self) -> None:
        """Brakes. Changes nothing when it brakes or rests already."""
        self._following.release()

    def disengage(self) -> None:
        """Gives the arm up."""
        self._engaged = False

    def reference(self, t: float) -> Reference:
        """What the arm is asked to do at `t`."""
        return self._following.reference(t)

    def at_rest(self, now: float) -> bool:
        """Whether the reference stands still at `now`."""
        return not self._following.reference(now).moving

    def commanded(self, now: float) -> None:
        """Takes note that a command which knows every sample taken was sent."""
        if self._newest is not None:
            self._latencies.append(now - self._newest)
            self._newest = None

    def report(self) -> TeleopFigures:
        """Figures since the last report."""
        limiting = self._following.limiting
        limited = Counter(limiting.limited)
        figures = TeleopFigures(
            samples=self._samples,
            ignored=dict(self._ignored),
            latencies=tuple(self._latencies),
            approaching=self._engaged and self._following.approaching,
            limiting=limiting,
            limited_since=dict(limited - self._limited),
            offset=tuple(self._following.offset.tolist()),
            gripping=self.drives_gripper,
        )
        self._samples, self._latencies, self._limited = 0, [], limited
        return figures

    def _refusal(self, sample: LeaderSample, now: float) -> tuple[str, str]:
        """Why a sample cannot be used, as it is counted and in words; both empty when it can."""
        if list(sample.names) != self._names or len(sample.positions) != len(self._names):
            found = f"{list(sample.names)} with {len(sample.positions)} positions"
            return "names", f"joints must be {self._names}, found {found}: use one cell file on both PCs"
        if not all(map(math.isfinite, (*sample.positions, sample.read_at))):
            return "nonfinite", "not all of their numbers are finite"
        age = now - sample.read_at
        if age > MAX_AGE:
            remedy = "this computer has too much to do" if sample.here else "check the clocks (chrony) and the network"
            return "old", f"stamped {1e3 * age:.0f} ms in the past: {remedy}"
        if age < -MAX_LEAD:
            return "future", f"stamped {-1e3 * age:.0f} ms in the future: check the clocks (chrony)"
        if sample.read_at <= self._following.heard:
            return "order", "stamped no later than one before: run one leader only, and check its clock (chrony)"
        return "", ""
