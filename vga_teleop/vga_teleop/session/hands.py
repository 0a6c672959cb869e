"""Who commands the arm while a policy runs: the policy, or a person with the leader. One key changes that."""

from __future__ import annotations

from vga_policy.message_constants import Mode
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.errors import GraphError


def pass_on(driver: DriverClient) -> str:
    """Takes over from the policy, or hands back to it; what has been done, or why it was not."""
    try:
        if driver.mode is Mode.POLICY:
            driver.take_over()
            return "taken over: the arm follows the leader's motion from where both are; t hands back"
        driver.hand_back()
        return "handed back: the policy goes on"
    except GraphError as refusal:
        return str(refusal)
