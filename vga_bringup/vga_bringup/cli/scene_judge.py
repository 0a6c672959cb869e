"""What can tell whether a task that a person has started is done."""

from __future__ import annotations

from vga_policy.message_constants import FAILURE, SUCCESS, TaskOutcome
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.success import SuccessSignal

from vga_msgs.action import RunTask
from vga_msgs.msg import TaskState


class SceneJudge:
    """What can tell whether the task is done: the simulated cell, of the scene that the instruction is of, or a signal.

    arrange: the command that draws another scene. signal: of the cell's own; None where it has none.
    """

    def __init__(self, scene: SceneClient, instruction: str, arrange: str, signal: SuccessSignal | None = None) -> None:
        self._scene, self._signal = scene, signal
        self._instruction, self._arrange = instruction, arrange
        self._over_before: bool | None = None  # whether the scene was done, or lost, when it was first seen

    def begin(self) -> None:
        """The task begins."""
        if self._signal is not None:
            self._signal.begin()

    @property
    def seen(self) -> bool:
        """Whether the simulated cell, where one is known, has said how its scene stands."""
        return self._state is not None or not self._scene.offered

    @property
    def decided(self) -> bool:
        """Whether the task is done, or can be done no more."""
        state = self._state
        return self._signaled or (state is not None and self._judges(state) and (state.success or state.failed))

    def label(self, *, canceled: bool) -> str:
        """SUCCESS or FAILURE, as the task stands; empty where nobody judges it, or it was canceled undecided."""
        if self._signaled:
            return SUCCESS
        state = self._state
        if state is None or not self._judges(state) or (canceled and not self.decided):
            return ""
        return SUCCESS if state.success else FAILURE

    @property
    def verdict(self) -> str:
        """How the task stands, in words; empty where nobody judges it."""
        if self._signal is not None and self._signal.done:
            return f"succeeded: {self._signal.topic} is true"
        if self._signal is not None and self._signal.left_on:
            return f"not judged: {self._signal.topic} has been true since before the task"
        state = self._state
        if state is None or not self._judges(state):
            return ""
        how = "succeeded" if state.success else "failed" if state.failed else "not done"
        return f"{how}: {state.detail}" if state.detail else how

    def ending(self, result: RunTask.Result) -> str:
        """How a task ended that the driver did not end, in words."""
        if self.decided and result.outcome == TaskOutcome.CANCELED:
            return self.verdict
        return "; ".join(filter(None, (result.message or "ended", self.verdict)))

    @property
    def hint(self) -> str:
        """What to do before the next run, where the cell is simulated."""
        state = self._state
        if state is None:
            return ""
        if self._over_before:
            return f"not judged, for the scene was done before: {self._arrange}"
        if not self._judges(state):
            scene = f"the scene is of {state.instruction!r}" if state.task else "no scene was arranged"
            return f"not judged, for {scene}: {self._arrange}"
        return f"for another scene: {self._arrange}"

    @property
    def _signaled(self) -> bool:
        return self._signal is not None and self._signal.done

    @property
    def _state(self) -> TaskState | None:
        state = self._scene.state
        if state is not None and self._over_before is None:
            self._over_before = state.success or state.failed
        return state

    def _judges(self, state: TaskState) -> bool:
        return bool(state.task) and state.instruction == self._instruction and not self._over_before
