"""Finds what the cell file says of a leader: each joint's sign and offset, and the range of the trigger.

A servo is mounted in one of four ways, a quarter turn apart, so its offset is a multiple of pi/2: a pose held roughly,
within 45 degrees, determines it exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vga_teleop.gello.joints import TURN

Vector = NDArray[np.float64]

QUARTER = TURN / 4
DOUBTFUL = 0.35  # rad beyond which a pose is too far from a multiple to be sure
MOVED = 0.3  # rad by which a joint was turned on purpose
STRAY = 0.5  # of that movement: another joint that moved more than this share leaves it unclear which was meant


class CalibrationError(Exception):
    """The leader cannot be calibrated from what was shown. The message says what to do instead."""


class Offsets(NamedTuple):
    """Offsets [7] in rad, within a half turn of zero, and how far [7] the pose shown was from them."""

    offsets: Vector
    residuals: Vector


def find_offsets(angles: Vector, q: Vector, signs: Vector, *, exact: bool = False) -> Offsets:
    """Offsets [7] with which servos at `angles` [7] mean the pose `q` [7]; all in rad.

    exact: take the pose as it is instead of rounding to multiples of pi/2.
    Raises CalibrationError when the pose is too far from any multiple.
    """
    shown = angles - signs * q
    offsets = shown if exact else QUARTER * np.round(shown / QUARTER)
    residuals = signs * (shown - offsets)
    if (doubtful := np.abs(residuals) > DOUBTFUL).any():
        joints = ", ".join(f"joint {i + 1} by {residuals[i]:+.2f} rad" for i in np.flatnonzero(doubtful))
        raise CalibrationError(f"the pose is not the one asked for: {joints}. Hold it again, or use --exact")
    return Offsets(_wrapped(offsets), residuals)


def find_sign(before: Vector, after: Vector, joint: int) -> int | None:
    """The sign of a joint that was turned in its positive direction; None while it has not been turned far enough.

    before, after: servo angles [7], rad. Raises CalibrationError when another joint was turned instead.
    """
    moved = after - before
    others = np.abs(np.delete(moved, joint))
    if np.abs(moved[joint]) < MOVED:
        if others.max() > MOVED:
            turned = int(np.argmax(np.abs(moved)))
            raise CalibrationError(f"joint {turned + 1} was turned, not joint {joint + 1}")
        return None
    if others.max() > STRAY * np.abs(moved[joint]):
        raise CalibrationError(f"other joints were turned along with joint {joint + 1}: hold them still")
    return 1 if moved[joint] > 0 else -1


def gripper_range(closed: float, opened: float) -> tuple[float, float]:
    """The trigger's angles (rad) pulled and let go, the pulled one within a turn. Raises CalibrationError."""
    if abs(opened - closed) < MOVED / 2:
        raise CalibrationError("the trigger hardly moved: pull it fully when asked, and let it go when asked")
    pulled = float(_wrapped(np.array(closed)))
    return pulled, pulled + opened - closed


def _wrapped(angles: Vector) -> Vector:
    """The same angles in (-pi, pi]."""
    return -((np.pi - angles) % TURN - np.pi)
