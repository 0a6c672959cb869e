"""What of a valid cell is seldom meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from vga_policy.cell.arm_models import ModelName, arm_model
from vga_policy.cell.schema import Cell

HAND_WIDTH = 0.08  # m, the Franka Hand's opening


def doubts(cell: Cell) -> Iterator[str]:
    """A line for each key whose value suits another arm, or another hand, than the cell has."""
    own = cell.arm.own
    others = tuple(f"{arm_model(name).prefix}_" for name in get_args(ModelName) if name != own.name)
    for key, value, usual in (
        ("arm.base_frame", cell.arm.base_frame, f"{own.prefix}_link0"),
        ("gripper.joint_name", cell.gripper.joint_name, f"{own.prefix}_finger_joint1"),
    ):
        if value.startswith(others):
            yield f"{key}: {value} is another arm's, arm.model is {own.name}; {usual} is meant, most likely"
    if cell.gripper.max_width > HAND_WIDTH:
        yield (
            f"gripper.max_width: {cell.gripper.max_width} m is wider than the Franka Hand opens ({HAND_WIDTH} m); no "
            "other gripper is driven"
        )
