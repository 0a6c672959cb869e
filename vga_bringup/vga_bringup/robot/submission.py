"""The way of a chunk: read, proposed, checked, accepted. It is executed as it is, or refused whole with a reason."""

from __future__ import annotations

from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.safety.safety_filter import Context, SafetyFilter
from vga_bringup.robot.types import ChunkRefusedError, ChunkRequest, Verdict


def submit(executor: Executor, safety: SafetyFilter, request: ChunkRequest, context: Context) -> Verdict:
    """Has the executor take over a chunk if nothing is wrong with it. Never raises on bad input."""
    try:
        chunk = safety.read(request, context)
        proposal = executor.propose(context.now, chunk, request.t_obs, request.sequence)
        safety.check(proposal)
    except ChunkRefusedError as refusal:
        return Verdict(refusal.reason.value, str(refusal))
    executor.accept(proposal)
    return Verdict(anchor=proposal.admission.anchor, steps_dropped=proposal.admission.steps_dropped)
