"""Who may command the arm: modes, hold reasons, the heartbeat watch and the life of goals.

A pure state machine: it knows neither ROS nor the arm, and time is whatever the caller passes as `now`
(seconds, monotonic). The control loop asks it every tick; everything that may stop the arm goes through here.

A goal lives once. It becomes live when the heartbeat announces it in POLICY, and dies for ever when the
heartbeat moves on, when the driver leaves POLICY, or when it was announced while no policy was in command.
A take-over leaves POLICY and keeps the goal: it commands nothing, until it is handed back to.
"""

from __future__ import annotations

import math

from vga_policy.message_constants import Mode

GoalId = bytes


class ModeRefusedError(Exception):
    """A mode cannot be set now. The message says why and what to do."""


class Modes:
    """The driver's mode, why it holds, and the goal whose chunks may move the arm.

    heartbeat_timeout: seconds without a healthy heartbeat after which POLICY falls back to HOLD.
    leader_timeout: seconds without a leader message after which TELEOP falls back to HOLD.
    """

    def __init__(self, heartbeat_timeout: float, leader_timeout: float = 0.2) -> None:
        self._heartbeat_timeout = heartbeat_timeout
        self._leader_timeout = leader_timeout
        self._mode = Mode.HOLD
        self._hold_reason = "driver started"
        self._needs_recovery = False
        self._goal: GoalId | None = None
        self._dead: set[GoalId] = set()
        self._healthy_at: float | None = None  # last healthy heartbeat since POLICY was armed
        self._unhealthy_reason = ""
        self._leader_at: float | None = None
        self._leader_refused: tuple[float, str] = (-math.inf, "")  # when, and why

    @property
    def mode(self) -> Mode:
        """Who commands the arm."""
        return self._mode

    @property
    def hold_reason(self) -> str:
        """Why the driver is in HOLD, in words; empty in the other modes."""
        return self._hold_reason if self._mode is Mode.HOLD else ""

    @property
    def needs_recovery(self) -> bool:
        """Whether a recover is needed before a mode other than HOLD can be set."""
        return self._needs_recovery

    @property
    def goal(self) -> GoalId | None:
        """The live goal, None when there is none. In a mode other than POLICY it is kept, to be handed back to."""
        return self._goal

    def request(
        self, mode: Mode, now: float, obstacle: str = "", misalignment: str = "", keep_goal: bool = False
    ) -> None:
        """Sets a mode on the operator's behalf.

        obstacle: why the arm cannot be armed at the moment (not connected, homing); empty when it can.
        misalignment: why it cannot begin to follow the leader's newest pose; empty when it can.
        keep_goal: the live goal outlives the change: TELEOP takes over from it, POLICY hands back to it.
        Raises ModeRefusedError for TELEOP and POLICY. HOLD always succeeds.
        """
        if mode is Mode.HOLD:
            self.hold("requested by the operator")
            return
        if obstacle:
            raise ModeRefusedError(f"{mode.name} refused: {obstacle}")
        if self._needs_recovery:
            raise ModeRefusedError(f"{mode.name} refused: {self._hold_reason}; run the recover action first")
        if keep_goal and (lacking := self._lacking(mode, now)):
            raise ModeRefusedError(f"{mode.name} refused: {lacking}")
        if mode is Mode.TELEOP and not self._leader_present(now):
            absent = "no leader publishes joint states; start the leader node first"
            raise ModeRefusedError(f"TELEOP refused: {self._leader_refusal(now) or absent}")
        if mode is Mode.TELEOP and misalignment:
            raise ModeRefusedError(f"TELEOP refused: {misalignment}")
        if mode is self._mode:
            return
        self._mode = mode
        if not keep_goal:
            self._kill_goal()
            self._healthy_at = None
            self._unhealthy_reason = ""

    def hold(self, reason: str, needs_recovery: bool = False, keep_goal: bool = False) -> None:
        """Enters HOLD and kills the live goal. A fault's reason stays until it is recovered or another fault.

        keep_goal: one that was taken over from is still to be handed back to.
        """
        if not keep_goal:
            self._kill_goal()
        self._mode = Mode.HOLD
        if needs_recovery or not self._needs_recovery:
            self._hold_reason = reason
        self._needs_recovery = self._needs_recovery or needs_recovery

    def recovered(self) -> None:
        """The fault is cleared; the driver stays in HOLD."""
        self._needs_recovery = False
        self.hold("recovered from: " + self._hold_reason.removeprefix("recovered from: "))

    def heartbeat(self, goal: GoalId | None, healthy: bool, reason: str, now: float) -> None:
        """Takes one heartbeat of the policy; goal None when it serves none."""
        if goal != self._goal:
            self._kill_goal()
            if goal is not None:
                if self._mode is Mode.POLICY and goal not in self._dead:
                    self._goal = goal
                else:
                    self._dead.add(goal)
        if self._mode is Mode.POLICY or self._goal is not None:
            if healthy:
                self._healthy_at = now
            self._unhealthy_reason = "" if healthy else reason

    def leader(self, now: float, refusal: str = "") -> None:
        """Takes note of one message of the leader; refusal: why it cannot be used, empty when it can."""
        if refusal:
            self._leader_refused = now, refusal
        else:
            self._leader_at = now

    def check(self, now: float) -> None:
        """Falls back to HOLD when the one in command has gone silent."""
        if self._mode is Mode.POLICY and self._healthy_at is not None:
            silence = now - self._healthy_at
            if silence > self._heartbeat_timeout:
                cause = self._unhealthy_reason or "the policy is silent"
                self.hold(f"no healthy policy heartbeat for {silence:.2f} s: {cause}")
        elif self._mode is Mode.TELEOP and not self._leader_present(now):
            again = Mode.TELEOP if self._goal is None else Mode.POLICY
            absent = (
                f"no message of the leader for {self._leader_timeout:.2f} s: once it is back, set {again.name} again"
            )
            self.hold(self._leader_refusal(now) or absent, keep_goal=True)

    def commanding_goal(self, now: float) -> GoalId | None:
        """The goal that may move the arm at `now`: live, in POLICY, under a healthy and recent heartbeat."""
        return self._goal if self._mode is Mode.POLICY and self._healthy(now) else None

    def _healthy(self, now: float) -> bool:
        return self._healthy_at is not None and now - self._healthy_at <= self._heartbeat_timeout

    def _lacking(self, mode: Mode, now: float) -> str:
        """What a take-over (TELEOP) or a hand-back (POLICY) lacks, and what to do; empty when nothing."""
        if mode is Mode.TELEOP and self._mode is not Mode.POLICY:
            begin = "start a task" if self._goal is None else "hand back"
            return f"one takes over from a policy in command, and the driver is in {self._mode.name}: {begin} first"
        if self._goal is None:
            if mode is Mode.TELEOP:
                return "no task is running, so there is nothing to take over: set HOLD, then TELEOP"
            return "there is no task to hand back to: set HOLD, then POLICY for the next one"
        if mode is Mode.POLICY and not self._healthy(now):
            silence = math.inf if self._healthy_at is None else now - self._healthy_at
            cause = self._unhealthy_reason or "the policy is silent"
            return f"no healthy policy heartbeat for {silence:.2f} s: {cause}"
        return ""

    def _leader_present(self, now: float) -> bool:
        return self._leader_at is not None and now - self._leader_at <= self._leader_timeout

    def _leader_refusal(self, now: float) -> str:
        """Why the leader's messages are of no use; empty when none came lately."""
        at, reason = self._leader_refused
        return f"the leader's samples are refused: {reason}" if now - at <= self._leader_timeout else ""

    def _kill_goal(self) -> None:
        if self._goal is not None:
            self._dead.add(self._goal)
            self._goal = None
