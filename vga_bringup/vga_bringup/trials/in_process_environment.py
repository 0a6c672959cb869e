"""The simulated cell in this process as an environment: time is simulated, and the policy's is a stated constant."""

from __future__ import annotations

from collections.abc import Mapping

from vga_policy.cell.schema import Cell
from vga_policy.evaluate.environment import EnvironmentFault, Judgement
from vga_policy.observation.observation import ActionChunk, Observation

from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.scene.task import Arrangement
from vga_bringup.trials.conditions import LATENCY


class InProcessEnvironment:
    """One InProcessCell; close it in the thread that made it.

    latency: s from an observation to the arrival of its chunk at the driver: the image's way, the policy, the chunk's.
    """

    def __init__(self, cell: Cell, latency: float = LATENCY) -> None:
        self._cell = cell
        self._latency = latency
        self._world = InProcessCell(cell)
        self._observed = 0.0

    @property
    def arrangement(self) -> Arrangement:
        """The scene of the trial."""
        return self._world.arrangement

    def close(self) -> None:
        """Frees what drawing took."""
        self._world.close()

    def reset(self, task: str, seed: int) -> str:
        """Sets the scene; the arm is at rest at the trial's start, the hand open. Raises TaskError."""
        return self._world.reset(task, seed).instruction

    def observe(self) -> Observation:
        """All views now, as the JPEG images that the policy node gets."""
        self._observed = self._world.now
        return self._world.observe(compressed=True)

    def execute(self, chunk: ActionChunk) -> None:
        """Sends the chunk on its way."""
        self._world.offer(chunk, self._observed, self._latency)

    def advance(self) -> None:
        """One control step. Raises EnvironmentFault when the driver has stopped the arm, and TaskError."""
        self._world.step(self._cell.dt)
        if self._world.problem:
            raise EnvironmentFault(self._world.problem)

    def judge(self) -> Judgement:
        """How the trial stands."""
        return self._world.task_state

    def refused(self) -> Mapping[str, int]:
        """Chunks that the safety filter refused, by reason."""
        return self._world.rejected
