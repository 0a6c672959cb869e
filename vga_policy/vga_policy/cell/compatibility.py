"""Whether what was recorded or trained for one contract means the same in another."""

from __future__ import annotations

from typing import Any

from vga_policy.cell.schema import Cell
from vga_policy.embodiment import embodiment as embodiments
from vga_policy.embodiment.embodiment import Difference, Embodiment

Contract = Cell | Embodiment
"""What a policy is made for: a robot's cell, or what has no cell file."""


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


def differences(mine: Contract, other: Contract) -> list[Difference]:
    """Differences in meaning; empty when a checkpoint or bag of `other` can be used in `mine`.

    Between two cells they are told by the keys of the cell file.
    """
    if not (isinstance(mine, Cell) and isinstance(other, Cell)):
        return embodiments.differences(mine.embodiment, other.embodiment)
    here, there = meaning(mine), meaning(other)
    return [Difference(key, here[key], there[key]) for key in here if here[key] != there[key]]
