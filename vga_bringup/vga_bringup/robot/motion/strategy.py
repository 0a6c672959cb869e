"""The execution strategies: when a chunk takes over, and which curve is followed from then on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from vga_policy.cell.schema import Execution, Strategy
from vga_policy.message_constants import Refusal

from vga_bringup.robot.motion.trajectory import Curve, merged
from vga_bringup.robot.types import ChunkRefusedError


@dataclass(frozen=True)
class Plan:
    """A chunk on the executor's clock, in force from `start` until its last due time.

    due: due time of each step, s. curve: through its steps. widths: gripper width a step, m.
    """

    sequence: int
    start: float
    due: list[float]
    curve: Curve
    widths: list[float]

    @property
    def end(self) -> float:
        """When its last step is due."""
        return self.due[-1]


@dataclass(frozen=True)
class Arrival:
    """A chunk observed at `t_obs` arrives `now`; `running` is the plan in force, `rest_at` when motion ends (s)."""

    now: float
    t_obs: float
    running: Plan | None
    rest_at: float


class Receding:
    """The newest chunk takes over at once."""

    def start(self, arrival: Arrival) -> float:
        """When the chunk takes over. Raises ChunkRefusedError if it never will."""
        return arrival.now

    def pieces(self, live: list[Plan], start: float) -> list[tuple[float, Curve]]:
        """What to follow from `start` on: curves and when each takes over. `live`: plans not ended, oldest first."""
        return [(start, live[-1].curve)]


class OpenLoop(Receding):
    """A chunk runs to its end; then the newest one received takes over."""

    def start(self, arrival: Arrival) -> float:
        """When the running plan ends."""
        return max(arrival.now, arrival.running.end) if arrival.running else arrival.now


class OpenLoopSync(Receding):
    """Observe at rest, execute all steps from their start, come to rest, observe again."""

    def start(self, arrival: Arrival) -> float:
        """At once, at rest; refused when observed or received in motion."""
        if arrival.rest_at > min(arrival.now, arrival.t_obs):
            raise ChunkRefusedError(
                Refusal.STAMP_STALE, "observed before the arm came to rest, which open_loop_sync awaits"
            )
        return arrival.now


class TemporalEnsemble(Receding):
    """The weighted mean of all live chunks, the i-th oldest weighing exp(-decay i)."""

    def __init__(self, decay: float) -> None:
        self._decay = decay

    def pieces(self, live: list[Plan], start: float) -> list[tuple[float, Curve]]:
        """One mean for each set of members, which changes whenever the oldest chunk ends."""
        knots = merged(start, (t for plan in live for t in (*plan.curve.starts.tolist(), plan.end)))
        members = np.stack([plan.curve.expanded(knots) for plan in live])
        pieces = []
        for oldest, plan in enumerate(live):
            if plan.end <= start:
                continue  # it ends together with an older one
            weights = np.exp(-self._decay * np.arange(len(live) - oldest))
            mean = np.tensordot(weights / weights.sum(), members[oldest:, knots >= start], axes=1)
            pieces.append((start, Curve(knots[knots >= start], mean)))
            start = plan.end
        return pieces


def strategy_of(execution: Execution) -> Receding:
    """The strategy a cell file asks for."""
    if execution.strategy is Strategy.TEMPORAL_ENSEMBLE:
        return TemporalEnsemble(execution.ensemble_decay)
    return {
        Strategy.RECEDING: Receding,
        Strategy.OPEN_LOOP: OpenLoop,
        Strategy.OPEN_LOOP_SYNC: OpenLoopSync,
    }[execution.strategy]()
