"""The gate before the executor: what must be true of a chunk, and of what the executor would make of it.

Cheap checks come first and the order is fixed, so a chunk with several faults always gets the same reason. Limits hold
for what the arm would execute, not only for the chunk's steps: the curve between them, the fade from the present
motion, and the stop at the end. A stop on the way follows the same path more slowly, so it keeps them too.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell
from vga_policy.message_constants import Mode, Refusal
from vga_policy.observation.observation import ActionChunk

from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.bounds.space import Space
from vga_bringup.robot.motion.proposal import Proposal
from vga_bringup.robot.safety.modes import GoalId
from vga_bringup.robot.types import ChunkRefusedError, ChunkRequest

Array = NDArray[np.float64]

TIME_TOLERANCE = 1e-3  # s, of a step's time_from_start
WIDTH_TOLERANCE = 1e-6  # m; 0.08 as float32 is not 0.08
SAMPLING = 0.01  # s, between the instants at which a motion is checked
WAY_SAMPLING = 0.02  # rad, between the postures at which a way is checked
# A cubic through steps whose second differences respect the limit accelerates up to three times as much in the worst
# case, and hardly more than the second differences when they are smooth.
ACCELERATION_MARGIN = 2.0
# The last line of defense must not trip over what may happen between two checked instants.
TICK_POSITION_TOLERANCE = 2e-3  # rad
TICK_VELOCITY_TOLERANCE = 0.05  # rad/s


@dataclass(frozen=True)
class Context:
    """What the driver knows when the chunk arrives.

    now: s. goal: the live goal announced by a healthy heartbeat, None if none. kept: one that a person has taken over
    from, whose chunks are not executed meanwhile.
    """

    now: float
    mode: Mode
    goal: GoalId | None
    kept: GoalId | None = None


class SafetyFilter:
    """The cell's limits, applied to chunks and, as a last line of defense, to every reference sent."""

    def __init__(self, cell: Cell) -> None:
        self._names = list(cell.arm.joint_names)
        self._limits = limits = Limits(cell)
        self._lower, self._upper = limits.lower, limits.upper
        self._max_width = cell.gripper.max_width
        self._horizon = cell.action.horizon
        self._dt = cell.dt
        self._execution = cell.execution
        self.space = Space(cell)

    def read(self, request: ChunkRequest, context: Context) -> ActionChunk:
        """The chunk in a request, once all is sound that can be seen without the motion. Raises ChunkRefusedError."""
        self._check_origin(request, context)
        chunk = self._read(request)
        self._check_age(request, context)
        self._check_steps(chunk)
        return chunk

    def check(self, proposal: Proposal) -> None:
        """Raises ChunkRefusedError where the arm must not execute a proposal."""
        self._check_jump(proposal)
        self._check_motion(proposal)
        # Last, so that a faulty chunk is counted under its fault whatever number it carries.
        proposal.check_order()

    def tick_ok(self, q: Array, dq: Array) -> bool:
        """Whether a reference (q, dq [7]) is finite and within the position and velocity limits."""
        # Written so that NaN compares as a fault.
        return bool(
            (q >= self._lower - TICK_POSITION_TOLERANCE).all()
            and (q <= self._upper + TICK_POSITION_TOLERANCE).all()
            and (self._limits.excess(q, dq) <= TICK_VELOCITY_TOLERANCE).all()
        )

    def pose_problem(self, q: Sequence[float], where: str = "there") -> str:
        """Why the arm must not be sent to rest at joint angles `q` (rad, of any length); empty when it may."""
        if len(q) != len(self._names) or not all(map(math.isfinite, q)):
            return f"a position needs {len(self._names)} finite joint angles, found {list(q)}"
        try:
            self._check_position(np.array([q]), lambda _: where)
            self._check_space(np.array([q]), lambda _: where)
        except ChunkRefusedError as refusal:
            return str(refusal)
        return ""

    def way_problem(self, q: Array, goal: Array) -> str:
        """What the straight way in joint space from `q` to `goal` (rad, [7]) runs into; empty when nothing.

        The way back may begin where the arm must not be: what it begins in, it may leave, but not enter again.
        """
        way = np.linspace(q, goal, 2 + int(np.max(np.abs(goal - q)) / WAY_SAMPLING))
        parts, place = self.space.parts, self.space.look(way)
        if _entered(place.outside):
            return "leaves the workspace"
        for box, (name, _, _) in enumerate(self.space.boxes):
            if _entered(place.touching[:, box].max(axis=-1)):
                return f"enters the box '{name}'"
        too_near = parts.too_near(place.distances, since=place.distances[0])
        if too_near.any():
            row, pair = divmod(int(too_near.argmax()), too_near.shape[1])
            return f"brings the arm too near itself: {parts.describe(place.distances[row], pair)}"
        return ""

    def _check_origin(self, request: ChunkRequest, context: Context) -> None:
        if context.mode is not Mode.POLICY:
            if context.kept is not None and bytes(request.goal) == bytes(context.kept):
                message = f"not in command: a person has taken over, and the driver is in {context.mode.name}"
                raise ChunkRefusedError(Refusal.TAKEN_OVER, message)
            raise ChunkRefusedError(
                Refusal.MODE, f"the driver is in {context.mode.name}; chunks are executed in POLICY only"
            )
        if context.goal is None or bytes(request.goal) != bytes(context.goal):
            live = "no goal is live" if context.goal is None else f"the live goal is {bytes(context.goal).hex()}"
            raise ChunkRefusedError(Refusal.GOAL, f"goal {bytes(request.goal).hex()} is not live: {live}")

    def _read(self, request: ChunkRequest) -> ActionChunk:
        """The request as arrays, once its shape, time axis and numbers are sound."""
        names = list(request.joint_names)
        if names != self._names:
            fault = "in another order" if sorted(names) == sorted(self._names) else f"{names[: len(self._names) + 1]}"
            raise ChunkRefusedError(Refusal.JOINT_NAMES, f"joints must be {self._names}, found {fault}")
        for what in ("positions", "time_from_start", "gripper_width"):
            if (length := len(getattr(request, what))) != self._horizon:
                raise ChunkRefusedError(Refusal.LENGTH, f"{what} holds {length} steps instead of {self._horizon}")
        for step, point in enumerate(request.positions):
            if len(point) != len(self._names):
                raise ChunkRefusedError(Refusal.LENGTH, f"step {step} holds {len(point)} joints")
        for step, time in enumerate(request.time_from_start):
            due = (step + 1) * self._dt
            if not abs(time - due) <= TIME_TOLERANCE:
                raise ChunkRefusedError(Refusal.DT, f"step {step} is due after {time} s instead of {due:g} s")
        joints, widths = np.array(request.positions, dtype=float), np.array(request.gripper_width, dtype=float)
        self._refuse(Refusal.NONFINITE, ~np.isfinite(joints), lambda k, j: f"is {joints[k, j]} at step {k}")
        if not np.isfinite(widths).all():
            step = int(np.isfinite(widths).argmin())
            raise ChunkRefusedError(Refusal.NONFINITE, f"the gripper width is {widths[step]} at step {step}")
        if not math.isfinite(request.t_obs):
            raise ChunkRefusedError(Refusal.NONFINITE, f"t_obs is {request.t_obs}")
        return ActionChunk.of_joints(joints, widths)

    def _check_age(self, request: ChunkRequest, context: Context) -> None:
        age, oldest, lead = context.now - request.t_obs, self._execution.max_chunk_age, self._execution.max_chunk_lead
        if age < -lead:
            raise ChunkRefusedError(Refusal.STAMP_FUTURE, f"observed {-age:.3f} s in the future, limit {lead:g} s")
        if age > oldest:
            raise ChunkRefusedError(Refusal.STAMP_STALE, f"observed {age:.3f} s ago, limit {oldest:g} s")

    def _check_steps(self, chunk: ActionChunk) -> None:
        """The steps by themselves, those already past included."""
        q, widths = chunk.joints, chunk.gripper_width
        self._check_position(q, lambda k: f"at step {k}")
        bad = (widths < -WIDTH_TOLERANCE) | (widths > self._max_width + WIDTH_TOLERANCE)
        if bad.any():
            step = int(bad.argmax())
            message = f"the gripper width is {widths[step]:.4f} m at step {step}, limits [0, {self._max_width:g}]"
            raise ChunkRefusedError(Refusal.GRIPPER_LIMIT, message)
        v = np.diff(q, axis=0) / self._dt
        self._check_velocity((q[1:] + q[:-1]) / 2, v, lambda k: f"from step {k} to {k + 1}")
        self._check_acceleration(np.diff(v, axis=0) / self._dt, 1.0, lambda k: f"at step {k + 1}")

    def _check_jump(self, proposal: Proposal) -> None:
        """The chunk must begin where the reference is, and matching its velocity must not lead far away from it."""
        start, anchor = proposal.admission.start, proposal.admission.anchor
        limit = self._execution.max_jump
        distances = [proposal.after.path.at(start)[0] - proposal.plan.curve.at(start)[0]]
        if proposal.admission.steps_dropped == 0:  # its spline starts on the reference, so look at where it leads
            q, dq = proposal.before.path.at(anchor)
            distances.append(q + dq * self._dt - proposal.chunk.joints[0])
        fading = np.linspace(start, proposal.offset.starts[-1], 16)
        jumps = np.abs(np.concatenate((np.array(distances), proposal.offset.sample(fading)[0])))

        def describe(k: int, j: int) -> str:
            step = proposal.admission.steps_dropped
            return f"is {jumps[k, j]:.3f} rad away from the present motion at step {step}, limit {limit:g}"

        self._refuse(Refusal.JUMP, jumps > limit, describe)

    def _check_motion(self, proposal: Proposal) -> None:
        """What the arm would execute from the switch until it rests."""
        path, due, begin = proposal.after.path, proposal.plan.due, proposal.admission.start
        times = np.arange(begin, path.starts[-1], SAMPLING)
        q, dq, _ = path.sample(times)
        knots = path.starts[path.starts > begin]
        edges = np.concatenate(((begin,), knots, knots - 1e-9))  # acceleration is linear in between
        ddq = path.sample(edges)[2]

        def when(t: float) -> str:
            step = bisect_left(due, t)
            return f"on the way to step {step}" if step < len(due) else "while stopping after the last step"

        self._check_position(q, lambda k: when(times[k]))
        self._check_velocity(q, dq, lambda k: when(times[k]))
        self._check_acceleration(ddq, ACCELERATION_MARGIN, lambda k: when(edges[k]))
        self._check_space(q, lambda k: when(times[k]))

    def _check_position(self, q: Array, when: Callable[[int], str]) -> None:
        def describe(k: int, j: int) -> str:
            return f"would be at {q[k, j]:.3f} rad {when(k)}, limits [{self._lower[j]:g}, {self._upper[j]:g}]"

        self._refuse(Refusal.JOINT_LIMIT, (q < self._lower) | (q > self._upper), describe)

    def _check_velocity(self, q: Array, dq: Array, when: Callable[[int], str]) -> None:
        def describe(k: int, j: int) -> str:
            low, high = self._limits.velocity_range(q[k])
            limit = high[j] if dq[k, j] > 0 else -low[j]
            return f"needs {abs(dq[k, j]):.2f} rad/s at {q[k, j]:.3f} rad {when(k)}, limit {limit:.3g} there"

        self._refuse(Refusal.VELOCITY_LIMIT, self._limits.excess(q, dq) > 0, describe)

    def _check_acceleration(self, ddq: Array, margin: float, when: Callable[[int], str]) -> None:
        limit = margin * self._limits.acceleration

        def describe(k: int, j: int) -> str:
            return f"needs {abs(ddq[k, j]):.2f} rad/s^2 {when(k)}, limit {limit[j]:g}"

        self._refuse(Refusal.ACCELERATION_LIMIT, np.abs(ddq) > limit, describe)

    def _refuse(self, reason: Refusal, bad: NDArray[np.bool_], describe: Callable[[int, int], str]) -> None:
        """Refuses for the first true value of `bad` [N, J], in the words of describe(row, joint)."""
        if bad.any():
            row, joint = divmod(int(bad.argmax()), bad.shape[1])
            raise ChunkRefusedError(reason, f"{self._names[joint]} {describe(row, joint)}")

    def _check_space(self, q: Array, when: Callable[[int], str]) -> None:
        place, parts = self.space.look(q), self.space.parts
        if (place.outside > 0).any():
            k, low, high = int((place.outside > 0).argmax()), self.space.low, self.space.high
            where = f"{np.round(place.tcp[k], 3).tolist()} m {when(k)}, outside {low.tolist()} to {high.tolist()}"
            raise ChunkRefusedError(Refusal.WORKSPACE, f"the tool center point would be at {where}")
        if place.touching.any():
            k, box, capsule = np.argwhere(place.touching)[0].tolist()
            what = f"the {parts.parts[capsule]} would enter the box '{self.space.boxes[box][0]}'"
            raise ChunkRefusedError(Refusal.KEEP_OUT, f"{what} {when(k)}")
        too_near = parts.too_near(place.distances)
        if too_near.any():
            k, pair = divmod(int(too_near.argmax()), too_near.shape[1])
            raise ChunkRefusedError(Refusal.SELF_COLLISION, f"{when(k)} {parts.describe(place.distances[k], pair)}")


def _entered(wrong: Array | NDArray[np.bool_]) -> bool:
    """Whether what `wrong` [N] tells of, posture by posture, if it is not zero, begins on the way."""
    there = wrong > 0
    return bool((there[1:] & ~there[:-1]).any())
