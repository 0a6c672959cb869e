"""The recover action: clears errors and gives the robot its settings again, beside the control loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from vga_bringup.robot.arm import ArmState, FrankaArm
from vga_bringup.robot.faults import ArmError
from vga_bringup.robot.jobs import Job

CONNECT_TIMEOUT = 10.0  # s a recover waits for the robot
POLL = 0.02  # s


class Recovery:
    """At most one recover at a time. All three functions are called in its thread.

    resting_arm: the arm, once it is connected and no motion runs on it. recovered: takes the arm back without errors,
    whether it is still the arm. problem: why there is no connection, empty while there is one. closing: ends it early.
    """

    def __init__(
        self,
        resting_arm: Callable[[], FrankaArm | None],
        recovered: Callable[[FrankaArm, ArmState], bool],
        problem: Callable[[], str],
        closing: threading.Event,
    ) -> None:
        self._resting_arm = resting_arm
        self._recovered = recovered
        self._problem = problem
        self._closing = closing
        self._job: Job | None = None

    @property
    def running(self) -> bool:
        """Whether one is under way."""
        return self._job is not None and not self._job.done

    def start(self) -> Job:
        """Starts one, in a thread of its own; it waits for the arm to be connected and at rest."""
        if self.running:
            return Job.failed("recovering already")
        job = self._job = Job("reconnecting")
        threading.Thread(target=self._run, args=(job,), name="recover", daemon=True).start()
        return job

    def _run(self, job: Job) -> None:
        deadline = time.monotonic() + CONNECT_TIMEOUT
        while (arm := self._resting_arm()) is None:
            if job.canceled or time.monotonic() > deadline or self._closing.wait(POLL):
                problem = self._problem() or "the arm does not come to rest"
                job.finish(False, "canceled" if job.canceled else problem)
                return
        try:
            measured = self._treat(arm, job)
        except ArmError as fault:
            job.finish(False, str(fault))
            return
        if self._recovered(arm, measured):
            job.finish(True, "recovered; set a mode and send a new goal to move again")
        else:
            job.finish(False, self._problem())

    def _treat(self, arm: FrankaArm, job: Job) -> ArmState:
        """The arm's state after all has been done for it. Raises ArmError where that was not enough."""
        if arm.read().mode == "user stopped":
            raise ArmError("user stop pressed: release it, then recover again")
        job.phase = "clearing errors"
        arm.clear_errors()
        job.phase = "reading back settings"
        arm.apply_settings()
        measured = arm.read()
        if measured.fault is not None:
            raise measured.fault
        return measured
