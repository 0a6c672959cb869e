"""The cell's limits against those of its arm."""

from __future__ import annotations

from typing import get_args

import numpy as np

from vga_policy.cell.arm_models import ModelName
from vga_policy.cell.schema import Cell


def limit_problems(cell: Cell) -> list[str]:
    """Where the cell's limits are wider than those of its arm's model: key, value, what is allowed."""
    arm, own, limits = cell.arm, cell.arm.own, cell.arm.limits
    other = next(name for name in get_args(ModelName) if name != arm.model)
    problems = []
    if any(name.startswith(other) for name in arm.joint_names):
        remedy = f"set arm.model: {other}, or name the joints {own.prefix}_joint1 ... {own.prefix}_joint7"
        problems.append(f"arm.joint_names: {arm.joint_names[0]} is a {other}'s, arm.model is {arm.model}; {remedy}")
    for key, wider, bounds, where in (
        ("lower", np.less, own.lower, "below"),
        ("upper", np.greater, own.upper, "above"),
        ("velocity", np.greater, own.velocity, "above"),
        ("acceleration", np.greater, own.acceleration, "above"),
    ):
        values = getattr(limits, key)
        problems += [
            f"arm.limits.{key}: {values[joint]:g} of {arm.joint_names[joint]} is {where} {bounds[joint]:g}, "
            f"the limit of the {own.title} itself: a cell may tighten the arm's limits, not widen them"
            for joint in np.flatnonzero(wider(values, bounds))
        ]
    return problems
