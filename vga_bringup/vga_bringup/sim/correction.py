"""A policy's run in an InProcessCell that a simulated person corrects, from the first observation to the end."""

from __future__ import annotations

from collections.abc import Callable

from vga_policy.evaluate.environment import Actor, Judgement

from vga_bringup.sim.demonstration import EPILOGUE, LEADER_PERIOD, PATIENCE
from vga_bringup.sim.expert.scripted_expert import EMPTY, Leader, ScriptedExpert
from vga_bringup.sim.expert.style import Style
from vga_bringup.sim.in_process import InProcessCell

LATENCY = 0.13  # s from an observation to the arrival of its chunk at the driver, as in trials
LEFT_ALONE = 9.0  # s that the policy has at most: it succeeds within that or hardly at all
MISSED_FOR = 0.5  # s for which fingers are closed on nothing before the person believes it


class Supervisor:
    """When a person who watches a policy takes over: it closed the fingers on nothing, or took too long."""

    def __init__(self) -> None:
        self._missed_since: float | None = None

    def objects(self, cell: InProcessCell) -> bool:
        """Whether it is time. Call it with every reading of the leader."""
        if cell.proprioception[-1] >= EMPTY:
            self._missed_since = None
        elif self._missed_since is None:
            self._missed_since = cell.now
        missed = self._missed_since is not None and cell.now - self._missed_since > MISSED_FOR
        return missed or cell.now > LEFT_ALONE


def correct(
    cell: InProcessCell, actor: Actor, task: str, seed: int, watch: Callable[[Leader], None] = lambda _: None
) -> Judgement:
    """Lets a policy do a task in the scene of this seed, and a person take over where it errs; the outcome.

    Until then the person's hand has the leader where the arm is; from then on it does the task to its end. watch:
    called with every reading of the leader, at the cell's time of that reading, before the arm follows it. Equal
    arguments give equal runs.
    """
    arrangement = cell.reset(task, seed)
    watcher, person = Supervisor(), None
    every, ticks, ends = round(cell.cell.dt / LEADER_PERIOD), 0, PATIENCE
    while cell.now < ends and not cell.problem:
        decided = cell.task_state.success or cell.task_state.failed
        ends = min(ends, cell.now + EPILOGUE) if decided else PATIENCE
        leader = Leader(cell.proprioception[:7], cell.commanded_width)
        if person is not None:
            leader = person.act(cell.now, cell.snapshot())
        elif ticks % every == 0:
            cell.offer(actor.act(cell.observe(compressed=True)), cell.now, LATENCY)
        cell.lead(*leader)
        watch(leader)
        if person is None and not decided and watcher.objects(cell):
            cell.take_over()
            person = ScriptedExpert(cell.cell, arrangement, Style.of(task, seed), leader.q)
        cell.step(LEADER_PERIOD)
        ticks += 1
    return cell.task_state
