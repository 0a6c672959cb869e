"""The cell's limits against those of its arm, and exposures against the rate of images."""

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


def exposure_problems(cell: Cell) -> dict[str, str]:
    """By camera: where its locked exposure is longer than the time between two images, so that it must miss images."""
    return {
        camera.name: f"cameras.{number}.exposure_us: {camera.exposure_us:g} us of {camera.name} are longer than the "
        f"{1e6 / camera.color.fps:.0f} us between images at {camera.color.fps} fps; lower it, or color.fps"
        for number, camera in enumerate(cell.cameras)
        if camera.exposure_us is not None and camera.exposure_us > 1e6 / camera.color.fps
    }
