"""Who commands the arm while a policy runs: the policy, or a person with the leader. One key changes that."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vga_policy.message_constants import Mode
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.errors import GraphError, RefusedError

from vga_teleop.session.workflow import Sight

NEAR = 0.01  # rad between arm and leader that are not worth a word


@dataclass(frozen=True)
class Hands:
    """The driver and the policy's task at one moment.

    mode: the driver's; None while it is silent. live: whether the task's goal is live for it, whoever commands. ended:
    why the policy has ended the task; empty while it runs. offset: largest joint angle between arm and leader since a
    take-over, rad; 0: none, or not known.
    """

    mode: Mode | None
    live: bool
    ended: str = ""
    offset: float = 0.0

    def seen(self, sight: Sight) -> Sight:
        """The sight of a cell in which the policy acts: its motion counts as the leader's does.

        An episode goes on as long as somebody commands, or the task can be handed back to.
        """
        if self.mode is Mode.TELEOP:
            away = f", {self.offset:.2f} rad away from the leader" if self.offset >= NEAR else ""
            notice = "" if self.live and not self.ended else "the task has ended meanwhile: correct on, then label"
            return replace(sight, teleop=True, commander=f"a person commands{away}; t hands back", notice=notice)
        if self.mode is Mode.HOLD and self.live:
            notice = f"the arm holds: {sight.hold_reason}; t: the policy goes on"
            return replace(sight, teleop=True, commander="nobody commands; t: the policy goes on", notice=notice)
        if self.mode is Mode.POLICY and self.ended:
            return replace(sight, teleop=False, ended=f"the policy has ended the task: {self.ended}")
        acts = self.mode is Mode.POLICY
        return replace(sight, teleop=acts, commander="the policy commands; t takes over" if acts else "")


def pass_on(driver: DriverClient) -> str:
    """Takes over from the policy, or hands back to it; what has been done, or why it was not."""
    try:
        if driver.mode is Mode.POLICY:
            driver.take_over()
            return "taken over: the arm follows the leader's motion from where both are; t hands back"
        driver.hand_back()
        return "handed back: the policy goes on"
    except RefusedError as refusal:
        return refusal.reason
    except GraphError as trouble:
        return str(trouble)
