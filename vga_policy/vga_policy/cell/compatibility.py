"""Whether what one cell recorded or trained means the same in another."""

from __future__ import annotations

from typing import Any, NamedTuple

from vga_policy.cell.schema import Cell


class Difference(NamedTuple):
    """One difference in meaning between two contracts."""

    key: str
    mine: Any
    other: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.mine!r} here, {self.other!r} there"


def meaning(cell: Cell) -> dict[str, Any]:
    """The part of the contract a checkpoint depends on: not addresses, serial numbers or limits."""
    return {
        "arm.model": cell.arm.model,
        "arm.joint_names": list(cell.arm.joint_names),
        "gripper.max_width": cell.gripper.max_width,
        "control_rate_hz": cell.control_rate_hz,
        "action.horizon": cell.action.horizon,
        "action.joints": cell.action.joints,
        "slot roles": [camera.role for camera in cell.views],
    }


def differences(mine: Cell, other: Cell) -> list[Difference]:
    """Differences in meaning; empty when a checkpoint or bag of `other` can be used in `mine`."""
    here, there = meaning(mine), meaning(other)
    return [Difference(key, here[key], there[key]) for key in here if here[key] != there[key]]
