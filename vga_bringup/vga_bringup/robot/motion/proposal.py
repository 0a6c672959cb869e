"""What the executor would do if a chunk were accepted: all that the safety filter is shown of it."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from vga_policy.message_constants import Refusal
from vga_policy.observation.observation import ActionChunk

from vga_bringup.robot.motion.strategy import Plan
from vga_bringup.robot.motion.trajectory import Curve
from vga_bringup.robot.types import ChunkRefusedError

SAME_TIME = 1e-3  # s; two chunks of one observation differ by the jitter of converting clocks


@dataclass(frozen=True)
class Admission:
    """How an accepted chunk is executed.

    anchor: start of its time axis, s: t_obs, or the start of the motion for a chunk observed before it.
    start: when it takes over, s. steps_dropped: steps already past by then, never executed.
    """

    anchor: float
    start: float
    steps_dropped: int


@dataclass(frozen=True)
class ExecutorState:
    """Everything the executor knows. Replaced as a whole, never changed.

    path: the executed reference, past and future; its last piece is rest.
    width: of the gripper (m) until the first plan takes over.
    plans: those that may still be in force, in the order in which they take over.
    moving_since: when the reference last left rest. rest_at: when its motion ends.
    newest: t_obs and sequence of the newest chunk taken.
    """

    path: Curve
    width: float
    plans: tuple[Plan, ...] = ()
    moving_since: float = -math.inf
    rest_at: float = -math.inf
    newest: tuple[float, int] = (-math.inf, -1)

    def plan_at(self, t: float) -> Plan | None:
        """The newest plan that has taken over by `t`, ended or not."""
        return next((plan for plan in reversed(self.plans) if plan.start <= t), None)

    def width_at(self, t: float) -> float:
        """Gripper width in force at `t`: that of the step due next, at last that of the last step."""
        plan = self.plan_at(t)
        return self.width if plan is None else plan.widths[min(bisect_left(plan.due, t), len(plan.due) - 1)]

    def check_order(self, t_obs: float, sequence: int) -> None:
        """Raises ChunkRefusedError for a chunk that is not newer than the newest one taken."""
        newest_t_obs, newest_sequence = self.newest
        if sequence <= newest_sequence:
            raise ChunkRefusedError(Refusal.SEQUENCE, f"sequence {sequence} after {newest_sequence} was taken")
        if t_obs < newest_t_obs - SAME_TIME:
            message = f"observed {newest_t_obs - t_obs:.3f} s before sequence {newest_sequence}, which was taken"
            raise ChunkRefusedError(Refusal.SEQUENCE, message)


@dataclass(frozen=True)
class Proposal:
    """What would be executed if a chunk were accepted.

    plan: the chunk's own spline. offset: the difference to it that fades out from `admission.start` on.
    before, after: the executor's state without and with the chunk.
    """

    chunk: ActionChunk
    admission: Admission
    plan: Plan
    offset: Curve
    before: ExecutorState
    after: ExecutorState

    def check_order(self) -> None:
        """Raises ChunkRefusedError when the chunk is not newer than the newest one taken."""
        self.before.check_order(*self.after.newest)
