"""Who gives the arm's reference: chunks, the source behind a mode, the way home, or the arm itself, at rest.

The arm changes hands at rest, by way of the executor: it rests where the last source left the arm, and the next one
begins there. Only a take-over and a hand-back change hands in motion, each going on from the reference as it moves.
One thread at a time may call the arbiter. Times are s on the control loop's clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell
from vga_policy.message_constants import Mode

from vga_bringup.robot.jobs import Job
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.motion.homing import HomingTrajectory
from vga_bringup.robot.motion.trajectory import Curve
from vga_bringup.robot.safety.safety_filter import SafetyFilter
from vga_bringup.robot.types import Reference

Vector = NDArray[np.float64]

SETTLE = 0.1  # s the reference rests before the motion is ended, so that the arm has arrived
MAX_ERROR = 0.3  # rad between reference and arm beyond which the arm does not follow


class MotionSource(Protocol):
    """Somebody who says where the arm is to be."""

    def reference(self, t: float, /) -> Reference:
        """What the arm is asked to do at `t`."""

    def at_rest(self, now: float, /) -> bool:
        """Whether the arm may change hands."""


class ModeSource(MotionSource, Protocol):
    """What moves the arm in a mode of its own. announcement, taken_over: what setting that mode begins, in words."""

    announcement: str
    taken_over: str

    @property
    def drives_gripper(self) -> bool:
        """Whether it commands the hand now."""

    def misalignment(self, q: Vector) -> str:
        """Why an arm at `q` (rad, [7]) must not be lent to it; empty when it may."""

    def engage(self, now: float, q: Vector, width: float) -> None:
        """It is lent the arm, at rest at `q` (rad, [7]), the hand commanded to `width` (m)."""

    def can_take_over(self, q: Vector, dq: Vector) -> bool:
        """Whether it may be lent an arm that moves: at `q` (rad, [7]), at `dq` (rad/s, [7])."""

    def take_over(self, now: float, q: Vector, dq: Vector, width: float) -> None:
        """It is lent the arm in motion."""

    def way(self) -> Curve:
        """What it has asked for of late, and the way to rest from there, which keeps all limits."""

    def release(self) -> None:
        """Brakes, now that its mode is over. Changes nothing when it brakes already."""

    def disengage(self) -> None:
        """It has the arm no longer."""

    def commanded(self, now: float) -> None:
        """Takes note that the arm was commanded."""


class Arbiter:
    """Lends the arm to one source at a time and guards what it asks for.

    sources: those of the modes that have one; POLICY moves the arm by chunks, which the executor takes.
    hand_width: the opening last commanded, m.
    """

    def __init__(
        self,
        cell: Cell,
        executor: Executor,
        safety: SafetyFilter,
        sources: Mapping[Mode, ModeSource],
        hand_width: Callable[[], float],
    ) -> None:
        self._cell = cell
        self._executor = executor
        self._safety = safety
        self._sources = sources
        self._hand_width = hand_width
        self._q = np.array(cell.arm.home)
        self._borrower: ModeSource | None = None
        self._next: ModeSource | None = None  # takes over as soon as it can
        self._homing: HomingTrajectory | None = None
        self._following = False
        self._rests_since = 0.0

    @property
    def following(self) -> bool:
        """Whether a motion of ours holds or moves the arm."""
        return self._following

    @property
    def homing(self) -> bool:
        """Whether the arm is on its way home."""
        return self._homing is not None

    def measured(self, q: Vector) -> None:
        """Takes note of where the arm is (rad, [7])."""
        self._q = q

    def reference(self, t: float) -> Reference:
        """What the arm is asked to do at `t`; where it is when no motion of ours runs."""
        if self._following:
            return self._owner.reference(t)
        return Reference(self._q, np.zeros(7), self._hand_width(), sequence=None, step=-1, moving=False)

    def at_rest(self, now: float) -> bool:
        """Whether nobody moves the arm."""
        return self._owner.at_rest(now)

    def problem(self, reference: Reference, target: Reference) -> str:
        """Why the arm must not go on from the reference in force to `target`, the next one; empty when it may.

        The last line of defense: whatever the source, the arm must be near it, and it must be within the limits.
        """
        if not self._following:
            return ""
        error = np.abs(reference.q - self._q)
        joint = int(np.argmax(error))
        if error[joint] > MAX_ERROR:
            return f"{self._cell.arm.joint_names[joint]} is {error[joint]:.2f} rad away from its reference"
        # Homing may begin outside the limits: it is the way back.
        if self._homing is None and not self._safety.tick_ok(target.q, target.dq):
            return "the reference left the cell's limits"
        return ""

    def drives_gripper(self, mode: Mode, reference: Reference) -> bool:
        """Whether the reference commands the hand too."""
        lent = self._borrower is not None and self._borrower is self._sources.get(mode)
        return reference.sequence is not None or (lent and self._sources[mode].drives_gripper)

    def commanded(self, mode: Mode, now: float) -> None:
        """Takes note that the arm was commanded."""
        if source := self._sources.get(mode):
            source.commanded(now)

    # Changes of hands.

    def obstacle(self, mode: Mode, now: float, moving: bool = False) -> str:
        """Why the arm cannot change hands for `mode` now; empty when it can. moving: in motion, too."""
        if not moving and (self._borrower is not None or (mode in self._sources and not self.at_rest(now))):
            return "the arm is still moving: set HOLD and let it come to rest"
        if not self._safety.tick_ok(self._q, np.zeros(7)):
            return "the arm is outside the cell's joint limits: run the home action first"
        return ""

    def misalignment(self, mode: Mode, now: float) -> str:
        """Why the source of `mode` must not be lent the arm where it is; empty when it may."""
        source = self._sources.get(mode)
        return source.misalignment(self._executor.reference(now).q) if source else ""

    def lend(self, mode: Mode, now: float) -> str:
        """Lends the arm to the source of `mode`, if it has one; what that begins, in words."""
        source = self._sources.get(mode)
        if source is None:
            return "the arm moves with the next goal"
        start = self._executor.reference(now)
        source.engage(now, start.q, start.gripper_width)
        self._borrower, self._next = source, None
        return source.announcement

    def take_over(self, mode: Mode, now: float) -> str:
        """Lends the arm in motion to the source of `mode`; what that begins, in words.

        The executor brakes until the source can take over: nearly always that is at once.
        """
        self._executor.stop(now)
        self._next = self._sources[mode]
        self._change_over(mode, now)
        return self._sources[mode].taken_over

    def hand_back(self, now: float) -> str:
        """Gives the arm back to the executor, which brakes until a chunk takes over; what that begins, in words."""
        self._next = None
        if self._borrower is not None:
            self._executor.resume(self._borrower.way(), self._borrower.reference(now).gripper_width)
            self._disengage()
        return "the same goal goes on"

    def home(self, goal: Sequence[float], speed: float, now: float) -> Job:
        """Sends an arm at rest to `goal` (rad, [7]), or home where that is empty. The hand keeps its opening.

        speed: share of the cell's velocity limits, 0 < speed <= 1.
        """
        there, where = (goal, "there") if goal else (self._cell.arm.home, "at the cell's arm.home")
        if problem := self._safety.pose_problem(there, where):
            return Job.failed(f"not homing: {problem}")
        start = self.reference(now).q
        if problem := self._safety.way_problem(start, np.array(there)):
            away = "guide the arm by hand or lead it away with the leader"
            return Job.failed(f"not homing: the straight way there {problem}: {away}")
        width = self._owner.reference(now).gripper_width
        self._homing = HomingTrajectory(self._cell, start, width, np.array(goal) if goal else None, speed, now)
        return self._homing.job

    def step(self, mode: Mode, now: float) -> None:
        """Ends what is over, and decides whether a motion runs. Call it once a tick, after `measured`."""
        if self._homing is not None and self._homing.step(self._q, now):
            self._executor.reset(now, self._homing.reference(now).q, self._hand_width())
            self._homing = None
        self.take_back(mode, now)
        self._change_over(mode, now)
        # A motion runs while somebody commands, while anything moves, and until the arm has settled after that.
        if mode is not Mode.HOLD or not self.at_rest(now):
            self._rests_since = now
            self._following = True
        elif now - self._rests_since > SETTLE:
            self._following = False

    def take_back(self, mode: Mode, now: float) -> None:
        """Has a borrower whose mode is over brake, and holds the arm where it is once that has ended.

        There, not where the reference came to rest: the arm would take a while for the last centiradian.
        """
        borrower = self._borrower
        if borrower is None or borrower is self._sources.get(mode):
            return
        borrower.release()
        reference = borrower.reference(now)
        if not reference.moving:
            self._disengage()
            self._executor.reset(now, self._q, reference.gripper_width)

    def _change_over(self, mode: Mode, now: float) -> None:
        """Has the next source take over, if it can by now and its mode still holds."""
        if self._next is None or self._next is not self._sources.get(mode):
            self._next = None
            return
        start = self._executor.reference(now)
        if not start.moving or self._next.can_take_over(start.q, start.dq):
            self._next.take_over(now, start.q, start.dq, start.gripper_width)
            self._borrower, self._next = self._next, None

    def rest_here(self, now: float) -> None:
        """The executor rests where the arm is."""
        self._executor.reset(now, self._q, self._hand_width())

    def interrupt(self, now: float, reason: str) -> None:
        """Takes the arm from whoever has it: it is to stay where it is."""
        self._disengage()
        self.rest_here(now)
        self.abandon_homing(reason)

    def let_go(self) -> None:
        """No motion of ours runs any more, at once: the arm has stopped by itself."""
        self._following = False
        self._rests_since = -math.inf

    def cancel_homing(self) -> None:
        """Has the way home brake."""
        if self._homing is not None:
            self._homing.job.cancel()

    def abandon_homing(self, reason: str) -> None:
        """Ends the way home where it is."""
        if self._homing is not None:
            self._homing.job.finish(False, reason)
            self._homing = None

    @property
    def _owner(self) -> MotionSource:
        """Who has the arm, whether or not a motion runs."""
        return self._borrower or self._homing or self._executor

    def _disengage(self) -> None:
        if self._borrower is not None:
            self._borrower.disengage()
            self._borrower = None
