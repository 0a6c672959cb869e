"""One task of the policy's node in a running graph, from arming the driver to what it took."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from vga_policy.evaluate.rollout import Tally
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.session import Session
from vga_policy.ros.client.verdicts import Verdicts

from vga_msgs.action import RunTask


class GraphTask:
    """One task after the other, through `session`. Every request raises GraphError as the clients do."""

    def __init__(self, session: Session) -> None:
        self.driver = DriverClient(session)
        self._policy, self._verdicts = PolicyClient(session), Verdicts(session)
        self._armed = ExitStack()  # closing it sets the driver back to HOLD

    def start(self, instruction: str, max_steps: int) -> None:
        """Arms the driver and starts the policy's task; `max_steps` control steps at most."""
        self.driver.policy()
        self._armed.callback(self.driver.hold)
        self._policy.start(instruction, max_steps)

    @property
    def done(self) -> bool:
        """Whether the task has ended."""
        return self._policy.done

    def end(self) -> Tally:
        """Ends the task if it still runs, and sets the driver back to HOLD."""
        with self._armed:
            result = self._policy.cancel()
        decided = self._verdicts.of(self._policy.goal_id)
        return Tally(
            steps=int(result.steps),
            chunks=int(result.chunks),
            refused=dict(decided.refused),
            chunk_rate=_rate(decided.times),
            fault=None if result.outcome == RunTask.Result.STEP_LIMIT else str(result.message),
        )

    def close(self) -> None:
        """Sets the driver back to HOLD, where a task has not come to its end."""
        self._armed.close()


def _rate(times: Sequence[float]) -> float | None:
    """How many a second, in the mean; None of fewer than two."""
    return round((len(times) - 1) / (times[-1] - times[0]), 3) if len(times) > 1 else None
