"""The running node graph, as a session sees it in which a policy acts and a person corrects it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import ClassVar

from diagnostic_msgs.msg import DiagnosticArray
from vga_policy.checkpoints import locate
from vga_policy.message_constants import DISCARDED, Mode
from vga_policy.ros import topics
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

from vga_teleop.session.graph_cell import GraphCell
from vga_teleop.session.hands import Hands, pass_on
from vga_teleop.session.workflow import Refused, Sight, Verdict

TOLD_WITHIN = 3.0  # s in which policy and driver say how they are: they do so every second
ENDED_WITHIN = 1.0  # s until the policy has ended a task whose goal the driver has dropped
NOBODY_ACTS = "no policy acts: space starts it, then t takes over"


class PolicyCell(GraphCell):
    """A cell whose episodes are a policy's, corrected by a person who takes over and hands back.

    checkpoint: what the policy node must run, for every episode.
    """

    needed: ClassVar[Mapping[str, str]] = {**GraphCell.needed, topics.POLICY_HEARTBEAT: "the policy (policy_node)"}
    remedy = "record.launch.py and policy.launch.py, or all of it simulated with `vga sim --teleop true --record true`"

    def __init__(self, session: Session, task: str, operator_name: str, stop: Event, checkpoint: str) -> None:
        super().__init__(session, task, operator_name, stop)
        self._policy = PolicyClient(session)
        self._checkpoint = checkpoint
        self._acting = False  # whether a task of this session's has been started and not ended
        self._told: dict[str, tuple[float, dict[str, str]]] = {}  # parts of the diagnostics, and when they came
        self._inference = f"{session.resolved(topics.POLICY)}: inference"
        self._teleoperation = f"{session.resolved(topics.DRIVER)}: teleoperation"
        session.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._note, 10)

    def require_policy(self) -> None:
        """Raises Refused unless the policy node runs the checkpoint."""
        start = f"start policy.launch.py checkpoint:={self._checkpoint}"
        with self._refusals():
            if not self._session.spin_until(
                lambda: self._stop.is_set() or bool(self._newest(self._inference)), TOLD_WITHIN
            ):
                raise GraphError(f"no policy node says what it runs: {start}, or `vga sim --checkpoint`")
        runs = self._newest(self._inference).get("checkpoint", "")
        if runs != self._checkpoint and Path(runs).resolve() != locate(self._checkpoint).resolve():
            raise Refused(f"--policy {self._checkpoint}: the policy node runs {runs}: name that, or {start}")

    def pass_on(self) -> str:
        """Takes over from the policy or hands back to it; what has been done, or why it was not."""
        return pass_on(self._driver) if self._acting else NOBODY_ACTS

    def look(self, seconds: float) -> Sight:
        """The cell as it is after this time; the policy's motion counts as the leader's does."""
        sight = super().look(seconds)
        ended = self._policy.result().message if self._acting and self._policy.done else ""
        live = self._acting and any(self._driver.goal)
        return Hands(self._driver.mode, live, ended, self._offset()).seen(sight)

    def teleoperate(self) -> None:
        """Lets the arm go by the policy's next task."""
        self.require_policy()
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
        """Brings the arm to rest, and the policy's task to its end: that goes without its goal's being live."""
        super().hold()
        if self._acting:
            self._acting = False
            self._session.spin_until(lambda: self._policy.done or self._policy.orphaned, ENDED_WITHIN)

    def _misalignment(self) -> float:
        """Nobody has to align."""
        return 0.0

    def _offset(self) -> float:
        """Largest joint angle (rad) between arm and leader since a take-over, as far as the driver has told."""
        told = self._newest(self._teleoperation).get("offset_rad", "")
        return max(map(abs, map(float, told.split())), default=0.0)

    def _newest(self, part: str) -> dict[str, str]:
        """The values of a part of the diagnostics; none where it has been silent."""
        at, values = self._told.get(part, (-math.inf, {}))
        return values if time.monotonic() - at < TOLD_WITHIN else {}

    def _note(self, diagnostics: DiagnosticArray) -> None:
        for status in diagnostics.status:
            if status.name in (self._inference, self._teleoperation):
                self._told[status.name] = time.monotonic(), {pair.key: pair.value for pair in status.values}
