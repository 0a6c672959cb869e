"""What a joint state says, if it can be believed at all: one rule for live topics and for bags."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vga_policy.cell.finger import hand_opening
from vga_policy.cell.schema import Cell

# rad beyond the joint range, m beyond the hand's: a joint presses a little past its stop and an encoder has an offset,
# while a robot that measures more than this is not the one that the cell file describes.
JOINT_MARGIN = 0.2
CLOSED_MARGIN, OPEN_MARGIN = 0.005, 0.01


class Disbelief(StrEnum):
    """Why a joint state is passed over."""

    MISSING = "missing_joint"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"


class JointStateError(ValueError):
    """A joint state that is not believed. The message names joint, value and what is allowed; kind: for counting.

    hand_away: the hand's joint is missing, and it alone.
    """

    def __init__(self, kind: Disbelief, words: str, hand_away: bool = False) -> None:
        super().__init__(words)
        self.kind, self.hand_away = kind, hand_away


class JointStates:
    """Turns the joint states of a cell into proprioception; those that its robot cannot be in are not believed."""

    def __init__(self, cell: Cell) -> None:
        lower, upper = joint_range(cell)
        self._cell = cell
        self._lower = np.append(lower - JOINT_MARGIN, -CLOSED_MARGIN)
        self._upper = np.append(upper + JOINT_MARGIN, cell.gripper.max_width + OPEN_MARGIN)

    def believed(self, names: Sequence[str], positions: Sequence[float]) -> NDArray[np.float64]:
        """The proprioception vector [8] in a JointState's names and positions.

        Raises JointStateError when a joint is missing, not finite, or further out than the robot can be.
        """
        sample = proprioception(self._cell, names, positions)
        inside = (sample >= self._lower) & (sample <= self._upper)  # nothing that is not finite
        if not inside.all():
            raise self._disbelief(sample, int(inside.argmin()))
        return sample

    def _disbelief(self, sample: NDArray[np.float64], index: int) -> JointStateError:
        arm, gripper = self._cell.arm, self._cell.gripper
        name = [*arm.joint_names, f"{gripper.joint_name} (opening)"][index]
        unit = "rad" if index < len(arm.joint_names) else "m"
        kind = Disbelief.OUT_OF_RANGE if np.isfinite(sample[index]) else Disbelief.NOT_FINITE
        allowed = f"allowed {self._lower[index]:.4g} to {self._upper[index]:.4g}"
        return JointStateError(kind, f"{name} at {sample[index]:.4g} {unit}, {allowed}")


def joint_range(cell: Cell) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the robot's joints can be, lower [7] and upper [7], rad: its own range, or the cell's where that is wider.

    The cell's limits alone are no bound: they may be tight, and an arm guided by hand leaves them.
    """
    own, limits = cell.arm.own, cell.arm.limits
    return np.minimum(own.lower, limits.lower), np.maximum(own.upper, limits.upper)


def proprioception(cell: Cell, names: Sequence[str], positions: Sequence[float]) -> NDArray[np.float64]:
    """The vector [8] in a JointState's names and positions, in the cell's joint order, believable or not.

    The last is the hand's opening. Raises JointStateError naming missing joints.
    """
    found = dict(zip(names, positions, strict=False))
    try:
        joints = [found[name] for name in cell.arm.joint_names]
        return np.array([*joints, hand_opening(found[cell.gripper.joint_name])])
    except KeyError as missing:
        words = f"joint {missing} is missing; found {str(sorted(found))[:120]}"
        hand_away = missing.args[0] == cell.gripper.joint_name  # which is looked for last
        raise JointStateError(Disbelief.MISSING, words, hand_away) from None
