"""Which task runs: when it is admitted, when it starts, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vga_policy.inference.task import Phase, Task
from vga_policy.message_constants import MODE_NAMES, Mode, TaskOutcome
from vga_policy.units import SECOND

DRIVER_GRACE = 0.5  # s a new task waits for the driver: its state may arrive after the goal it precedes
DRIVER_SILENCE = 1.0  # s without a driver state after which the driver counts as gone
NEW_INSTRUCTION = "the text encoder: this instruction is new to it"


class TaskRunner:
    """Runs one task at a time, from its goal to its outcome. Times are ns of the policy's clock.

    A task waits until the driver is in mode POLICY and the instruction is encoded, and is live from then on. It ends at
    its step limit, when it is canceled, when the driver leaves that mode or falls silent, or by `end`. A person who
    takes over ends nothing: the driver keeps the goal, and the task goes on unheeded.
    One thread calls all methods; others may read `task`.

    task: the running one; None between tasks.
    """

    def __init__(
        self,
        dt: float,
        driver_state: str,
        set_mode: str,
        on_start: Callable[[Task], None],
        on_end: Callable[[Task], None],
    ) -> None:
        """`dt`: seconds of a control step. `driver_state`, `set_mode`: the driver's names for both, for remedies.

        `on_start`, `on_end`: called with a task that has just become live, and with one that has just ended, when it is
        not `task` any more.
        """
        self.task: Task | None = None
        self._dt = dt
        self._driver_state, self._set_mode = driver_state, set_mode
        self._on_start, self._on_end = on_start, on_end
        self._mode, self._hold_reason, self._driver_goal = Mode.HOLD.value, "", b""
        self._heard_ns: int | None = None

    def refusal(self, instruction: str) -> str:
        """Why a goal with this instruction is not accepted; empty when it is."""
        if self.task is None:
            return ""
        return f"'{instruction}': '{self.task.instruction}' is running, cancel it first"

    def begin(self, goal_id: bytes, instruction: str, max_steps: int, goal: Any, now_ns: int, problem: str) -> None:
        """An accepted goal becomes the task; `problem`, or an empty instruction, ends it at once."""
        self.task = Task(goal_id, instruction, max_steps, self._dt, now_ns, goal)
        if not instruction.strip():
            self.end(TaskOutcome.ABORTED, "the instruction is empty")
        elif problem:
            self.end(TaskOutcome.ABORTED, problem)

    def hear_driver(self, mode: int, hold_reason: str, now_ns: int, goal: bytes = b"") -> None:
        """The driver's state has arrived: its Mode, why it is in HOLD, and the goal that is live for it."""
        self._mode, self._hold_reason, self._heard_ns, self._driver_goal = mode, hold_reason, now_ns, goal

    def follow_driver(self, now_ns: int, encoder_failure: str) -> None:
        """Starts a waiting task when driver and policy are ready; ends a task when the driver is not, or no longer."""
        if self.task is None:
            return
        task, fault = self.task, self._driver_fault(now_ns)
        if task.phase is Phase.WAITING:
            if not fault and task.encoded:
                task.start()
                self._on_start(task)
                return
            task.waiting_for = fault or encoder_failure or NEW_INSTRUCTION
            if now_ns - task.accepted_ns < DRIVER_GRACE * SECOND:
                return
        if fault:
            self.end(TaskOutcome.ABORTED, fault)

    def advance(self, now_ns: int) -> bool:
        """Counts the live task's control steps; False when it has reached its limit and ended."""
        if self.task is None or not self.task.advance(now_ns):
            return self.task is not None
        self.end(TaskOutcome.STEP_LIMIT, f"step limit of {self.task.max_steps} reached")
        return False

    def cancel(self, goal: Any) -> bool:
        """Ends the task of this goal; False when it does not run."""
        if self.task is None or self.task.goal is not goal:
            return False
        self.end(TaskOutcome.CANCELED, "canceled by the caller")
        return True

    def end(self, outcome: TaskOutcome, message: str) -> None:
        """Ends the running task, if any: once this has returned, nothing of it is published any more."""
        if self.task is None:
            return
        task, self.task = self.task, None
        task.end(outcome, message)
        self._on_end(task)

    def _driver_fault(self, now_ns: int) -> str:
        """Why the driver would not execute chunks; empty when it would."""
        if self._heard_ns is None or now_ns - self._heard_ns > DRIVER_SILENCE * SECOND:
            return f"driver is silent: nothing on {self._driver_state}; start franka_driver_node"
        taken_over = self.task is not None and self.task.phase is Phase.LIVE and self.task.goal_id == self._driver_goal
        if self._mode == Mode.POLICY or taken_over:
            return ""
        reason = f" ({self._hold_reason})" if self._hold_reason else ""
        mode = MODE_NAMES.get(self._mode, f"mode {self._mode}, which this version does not know")
        return f"driver is in {mode}{reason}: call {self._set_mode} with POLICY first"
