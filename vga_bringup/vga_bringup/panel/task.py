"""One task of the policy after the other, as the panel runs them: as `vga run` does."""

from __future__ import annotations

from threading import Event

from vga_policy.message_constants import Mode, TaskOutcome
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session

from vga_bringup.cli.options import robot_option
from vga_bringup.cli.scene_judge import SceneJudge
from vga_msgs.action import RunTask

HOLD_WITHIN = 0.5  # s; the policy may know of it before the panel does


class PanelTask:
    """Through `session`. Whatever ends this process leaves a task that runs to the policy, which goes on with it."""

    def __init__(
        self, session: Session, driver: DriverClient, policy: PolicyClient, scene: SceneClient, namespace: str
    ) -> None:
        self._session, self._driver, self._policy, self._scene = session, driver, policy, scene
        self._robot = robot_option(namespace)
        self._given_up = Event()
        self._performing = False
        self._running: tuple[str, int] | None = None

    @property
    def in_words(self) -> str:
        """The task that runs, if it was started here, and how far it is."""
        if self._running is None:
            return ""
        (instruction, limit), feedback = self._running, self._policy.feedback
        waiting = f"; waiting for {feedback.waiting_for}" if feedback.waiting_for else ""
        return f"{instruction!r}: step {feedback.steps}{f' of {limit}' if limit else ''}{waiting}"

    def perform(self, instruction: str, max_steps: int = 0) -> str:
        """Runs a task to its end, which the simulated cell may judge; how it ended. Raises GraphError when it is
        refused, or the policy goes."""
        self._given_up.clear()
        self._performing = True
        try:
            return self._perform(instruction, max_steps)
        finally:
            self._performing = False

    def _perform(self, instruction: str, max_steps: int) -> str:
        judge = SceneJudge(self._scene, instruction, f"vga arrange{self._robot}")
        _ = judge.decided  # how the scene stands before
        self._driver.policy()
        try:
            if self._given_up.is_set():
                return "canceled"
            self._policy.start(instruction, max_steps)
            self._running = instruction, max_steps
            self._session.spin_until(
                lambda: self._policy.done or self._policy.orphaned or self._given_up.is_set() or judge.decided
            )
            return self._conclude(self._policy.cancel(), judge)
        finally:
            self._running = None
            self._driver.hold()

    def cancel(self) -> str:
        """Ends the task that runs, whoever started it, and brings the arm to rest; what was done."""
        if self._performing:  # also before it runs
            self._given_up.set()
            return "the task is being ended"
        there = self._policy.offered and self._policy.cancel_whosever()
        self._driver.hold()
        return "the task, which was not started here, is ended" if there else "no task runs; the driver holds"

    def give_up(self) -> None:
        """Ends the task that was started here, as its driver is being stopped."""
        self._given_up.set()

    def _conclude(self, result: RunTask.Result, judge: SceneJudge) -> str:
        if result.outcome == TaskOutcome.ABORTED:
            self._session.spin_until(lambda: self._driver.mode is Mode.HOLD, HOLD_WITHIN)
            state = self._driver.state
            held = "" if state is None or state.mode != Mode.HOLD else state.hold_reason
            end = f"the driver went to HOLD: {held}" if held else result.message
        else:
            end = judge.ending(result)
        return f"{end} ({result.steps} steps, {result.chunks} chunks)"
