"""From action chunks to the reference the arm tracks, as a pure function of (chunks received, clock).

The executed reference is one curve in time; accepting a chunk replaces its future. A chunk becomes a spline from
the reference executed at its anchor through its steps. When it takes over, the difference in position and velocity
between the reference and that spline fades out, so the reference is continuous whatever the chunk, and a chunk
that agrees with the motion under way changes nothing, however late it comes.

All times are seconds (float) on one monotonic clock. Step k of a chunk is due at anchor + (k+1) dt.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell
from vga_policy.message_constants import Refusal
from vga_policy.observation.observation import ActionChunk

from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.motion.proposal import Admission, ExecutorState, Proposal
from vga_bringup.robot.motion.strategy import Arrival, Plan, strategy_of
from vga_bringup.robot.motion.trajectory import Curve, brake, fade, rest, spline, stop
from vga_bringup.robot.types import ChunkRefusedError, Reference

HISTORY = 2.0  # seconds of the executed reference kept, for the anchors of chunks still under way
EASE_SHARE = 0.5  # of a joint's acceleration limit that going over to a chunk may use


class Executor:
    """Turns chunks into one reference, continuous in position and velocity.

    One thread at a time may call `reset`, `resume`, `offer`, `propose`, `accept` and `stop`; `reference` and `at_rest`
    may be called from another thread meanwhile. The executor serves one goal: call `stop` when it changes.
    """

    def __init__(self, cell: Cell) -> None:
        self._dt = cell.dt
        self._fade_time = cell.execution.blend_time, max(cell.execution.blend_time, cell.action.horizon * cell.dt)
        limits = Limits(cell)
        self._ease = EASE_SHARE * limits.acceleration
        self._stopping = limits.stopping
        self._strategy = strategy_of(cell.execution)
        self._horizon = cell.action.horizon
        self._state = ExecutorState(rest(0.0, np.array(cell.arm.home)), cell.gripper.max_width)

    def reset(self, now: float, q: NDArray[np.float64], gripper_width: float) -> None:
        """Rests at `q` (rad) from `now` on and forgets everything before."""
        self._state = ExecutorState(rest(now, np.array(q, dtype=float)), float(gripper_width))

    def resume(self, way: Curve, gripper_width: float) -> None:
        """Goes on along `way`, which another source has begun and which ends at rest, until a chunk takes over."""
        path = self._state.path.then(float(way.starts[0]), way)
        self._state = ExecutorState(
            path, float(gripper_width), rest_at=float(way.starts[-1]), newest=self._state.newest
        )

    def stop(self, now: float) -> None:
        """Brakes along the path from `now` on and forgets all chunks; the gripper keeps its width."""
        state = self._state
        forgetful = replace(state, width=state.width_at(now), plans=(), newest=ExecutorState.newest)
        if now < state.rest_at:
            path = state.path.then(now, brake(state.path, now, self._stopping))
            forgetful = replace(forgetful, path=path, rest_at=float(path.starts[-1]))
        self._state = forgetful

    def reference(self, now: float) -> Reference:
        """The reference at `now`."""
        state = self._state
        q, dq = state.path.at(now)
        plan = state.plan_at(now)
        running = plan is not None and now <= plan.end
        return Reference(
            q=q,
            dq=dq,
            gripper_width=state.width_at(now),
            sequence=plan.sequence if plan and running else None,
            step=bisect_left(plan.due, now) if plan and running else -1,
            moving=now < state.rest_at,
        )

    def at_rest(self, now: float) -> bool:
        """Whether the reference stands still from `now` on."""
        return now >= self._state.rest_at

    def offer(self, now: float, chunk: ActionChunk, t_obs: float, sequence: int) -> Admission:
        """Executes a chunk observed at `t_obs`, without any safety check. Raises ChunkRefusedError."""
        self._state.check_order(t_obs, sequence)
        proposal = self.propose(now, chunk, t_obs, sequence)
        self.accept(proposal)
        return proposal.admission

    def accept(self, proposal: Proposal) -> None:
        """Executes a proposal. Raises RuntimeError if anything happened since it was made."""
        if proposal.before is not self._state:
            raise RuntimeError("the proposal is out of date; calls to the executor must come one at a time")
        self._state = proposal.after

    def propose(self, now: float, chunk: ActionChunk, t_obs: float, sequence: int) -> Proposal:
        """What would be executed if this chunk were accepted now. Changes nothing. Raises ChunkRefusedError."""
        state = self._state
        if chunk.horizon != self._horizon:
            raise ChunkRefusedError(Refusal.LENGTH, f"{chunk.horizon} steps instead of {self._horizon}")
        now = max(now, t_obs)  # t_obs lies ahead by the clock error between hosts, if at all
        # No time passes for a plan while the arm stands still: it begins when the motion does, and so do the plans
        # observed before that, while the first one was on its way. No step is skipped from standstill.
        from_rest = now >= state.rest_at
        moving_since = now if from_rest else state.moving_since
        anchor = max(t_obs, moving_since)
        start = self._strategy.start(Arrival(now, t_obs, state.plan_at(now), state.rest_at))
        due = [anchor + (k + 1) * self._dt for k in range(chunk.horizon)]
        if due[-1] <= start:
            raise ChunkRefusedError(
                Refusal.STAMP_STALE, f"could take over only {start - due[-1]:.3f} s past its last step"
            )

        q, dq = state.path.at(anchor)
        curve = spline(anchor, self._dt, np.vstack((q, chunk.joints)), dq, self._ease)
        plan = Plan(sequence, start, due, curve, chunk.gripper_width.tolist())
        kept = [other for other in state.plans if other.start < start and other.end > now][1 - self._horizon :]
        live = [other for other in kept if other.end > start]
        path, offsets = self._join(state.path.after(now - HISTORY), self._strategy.pieces([*live, plan], start))
        path = path.then(plan.end, stop(plan.end, *path.at(plan.end), self._stopping))
        after = ExecutorState(
            path=path,
            width=state.width_at(now),
            plans=(*kept, plan),
            moving_since=moving_since,
            rest_at=float(path.starts[-1]),
            newest=(t_obs, sequence),
        )
        admission = Admission(anchor, start, steps_dropped=bisect_left(due, start))
        return Proposal(chunk, admission, plan, offsets[0], before=state, after=after)

    def _join(self, path: Curve, pieces: list[tuple[float, Curve]]) -> tuple[Curve, list[Curve]]:
        """`path` going over into each curve at its time, and the offsets that fade out after each switch."""
        offsets = []
        for t, curve in pieces:
            (q, dq), (next_q, next_dq) = path.at(t), curve.at(t)
            offsets.append(fade(t, q - next_q, dq - next_dq, self._ease, *self._fade_time))
            path = path.then(t, curve + offsets[-1])
        return path, offsets
