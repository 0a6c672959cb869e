"""The running node graph, as a session sees it in which a policy acts and a person corrects it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event

from diagnostic_msgs.msg import DiagnosticArray
from vga_policy.checkpoints import locate
from vga_policy.message_constants import DISCARDED, Mode
from vga_policy.ros import topics
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

from vga_teleop.session.graph_cell import GraphCell
from vga_teleop.session.hands import pass_on
from vga_teleop.session.workflow import Refused, Sight, Verdict

TOLD_WITHIN = 3.0  # s until the policy has said what it runs


class PolicyCell(GraphCell):
    """A cell whose episodes are a policy's, corrected by a person who takes over and hands back."""

    def __init__(self, session: Session, task: str, operator_name: str, stop: Event, homing_speed: float = 0.0) -> None:
        super().__init__(session, task, operator_name, stop, homing_speed)
        self._policy = PolicyClient(session)
        self._acting = False  # whether a task of this session's has been started and not ended
        self._runs: str | None = None  # the checkpoint of the policy node
        self._inference = f"{session.resolved(topics.POLICY)}: inference"
        session.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._note, 10)

    def require(self, checkpoint: str) -> None:
        """Raises GraphError unless the policy node runs this checkpoint."""
        self._session.spin_until(lambda: self._runs is not None or self._stop.is_set(), TOLD_WITHIN)
        start = f"policy.launch.py checkpoint:={checkpoint}"
        if self._runs is None:
            raise GraphError(f"no policy node says what it runs: start {start}, or `vga sim` with --checkpoint")
        if self._runs not in (checkpoint, str(locate(checkpoint).resolve())):
            raise GraphError(
                f"--policy {checkpoint}: the policy node runs {self._runs or 'an untrained policy'}: {start}"
            )

    def pass_on(self) -> str:
        """Takes over from the policy or hands back to it; what has been done, or why it was not."""
        return pass_on(self._driver)

    def look(self, seconds: float) -> Sight:
        """The cell as it is after this time; the policy's motion counts as the leader's does."""
        sight = super().look(seconds)
        kept = self._acting and any(self._driver.goal)
        ended = self._acting and self._policy.done
        if ended:
            return replace(sight, teleop=False, hold_reason=f"the policy has ended: {self._policy.result().message}")
        who = "a person" if self._driver.mode is not Mode.POLICY else "the policy"
        why = f" (HOLD: {sight.hold_reason}; t: the policy goes on)" if kept and sight.hold_reason else ""
        return replace(
            sight,
            teleop=kept or self._driver.mode in (Mode.POLICY, Mode.TELEOP),
            misalignment=0.0,
            commander=f"{who} commands{why}" if self._acting else "",
        )

    def teleoperate(self) -> None:
        """Lets the arm go by the policy's next task."""
        with self._refusals():
            self._driver.policy()
        self._until_mode(Mode.POLICY)

    def start(self, instruction: str) -> Path:
        """Starts an episode, and in it the policy."""
        path = super().start(instruction)
        try:
            with self._refusals():
                self._policy.start(instruction)
        except Refused:
            super().stop(Verdict(DISCARDED, "the policy did not start"))
            raise
        self._acting = True
        return path

    def hold(self) -> None:
        """Ends the policy's task, and brings the arm to rest."""
        if self._acting:
            self._acting = False
            with suppress(GraphError):
                self._policy.cancel()
        super().hold()

    def _note(self, diagnostics: DiagnosticArray) -> None:
        for status in diagnostics.status:
            if status.name == self._inference:
                self._runs = {pair.key: pair.value for pair in status.values}.get("checkpoint")
