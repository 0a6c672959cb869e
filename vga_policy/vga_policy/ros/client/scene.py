"""The scene of the simulated cell: objects arranged for a trial, and how the trial stands."""

from __future__ import annotations

from typing import NamedTuple

from vga_msgs.msg import TaskState
from vga_msgs.srv import ArrangeScene
from vga_policy.ros import topics
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError, RefusedError

JUDGED_WITHIN = 5.0  # s


class Arranged(NamedTuple):
    """A trial's scene. instruction: what the policy is to be told. arm_start: joint angles to start from, rad."""

    instruction: str
    arm_start: tuple[float, ...]


class SceneClient:
    """Through `session`. Every request raises GraphError where nobody answers, RefusedError where it is refused."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._arrange = session.node.create_client(ArrangeScene, topics.SIM_CELL_ARRANGE)
        self._state = Newest(session, TaskState, topics.SIM_CELL_TASK_STATE)

    @property
    def offered(self) -> bool:
        """Whether a simulated cell is there; on a real one a person sets the scene."""
        return bool(self._arrange.service_is_ready())

    @property
    def state(self) -> TaskState | None:
        """How the trial stands; None while the simulated cell is silent."""
        return self._state.message

    def arrange(self, task: str, seed: int) -> Arranged:
        """Sets the scene of `task` that `seed` draws, which begins a trial. The arm must be out of the way."""
        response = self._session.call(self._arrange, ArrangeScene.Request(task=task, seed=seed))
        if not response.success:
            raise RefusedError(response.message, f"the simulated cell cannot arrange {task}, seed {seed}")
        return Arranged(str(response.instruction), tuple(response.arm_start))

    def wait_until_begun(self, task: str, seed: int) -> None:
        """Until `state` is of this trial, neither done nor failed."""
        self._state.forget()
        if not self._session.spin_until(lambda: self._begun(task, seed), JUDGED_WITHIN):
            raise GraphError(f"{task}, seed {seed} cannot begin: {self._state.topic} is silent")

    def judged(self) -> TaskState:
        """How the trial stands. Raises GraphError when the cell has gone silent."""
        if (state := self.state) is None:
            raise GraphError(f"{self._state.topic} is silent")
        return state

    def _begun(self, task: str, seed: int) -> bool:
        state = self.state
        return state is not None and (state.task, state.seed) == (task, seed) and not (state.success or state.failed)
