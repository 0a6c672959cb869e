"""The depth that a D415 would measure of what is drawn exactly: by the shift between its two infrared pictures.

Noise is of that shift, so that it grows with the square of the distance. There is no depth of what is too near, of what
only one of the two sees, beside edges, and where the second picture has ended. Reflections, dark and blank surfaces,
which cost a real one depth too, are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BASELINE = 0.055  # m between the two
FIELD_OF_VIEW = np.radians(65)  # across
SHIFTS = 126  # px, the largest that is looked for: the datasheet's least distance
SUBPIXEL = 0.08  # px, standard deviation of a shift on a well textured surface
STEP = 32  # parts of a pixel that a shift is told in
EDGE = 1.0  # px between the shifts of two neighbors, beyond which neither is told


class StereoDepth:
    """One camera's depth sensor. width: of its pictures, px. seed: of its noise."""

    def __init__(self, width: int, seed: int | None = None) -> None:
        self._scale = np.float32(width / 2 / np.tan(FIELD_OF_VIEW / 2) * BASELINE * 1000)  # px mm
        self._random = np.random.default_rng(seed)

    def measure(self, exact: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Depth [H, W], mm, of what is exactly so far away; 0: none."""
        shift = np.where(exact > 0, self._scale / np.maximum(exact, 1), 0).astype(np.float32)
        seen = (shift > 0) & (shift <= SHIFTS) & ~_hidden(shift) & ~_beside_edges(shift)
        noisy = shift + SUBPIXEL * self._random.standard_normal(shift.shape, dtype=np.float32)
        told = np.rint(noisy * STEP) / STEP
        seen &= told > 0
        return np.where(seen, self._scale / np.maximum(told, 1 / STEP), 0).clip(0, 2**16 - 1).astype(np.uint16)


def _hidden(shift: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What the second camera, to the right, does not see: behind something nearer, or left of its picture."""
    there = np.arange(shift.shape[1], dtype=np.float32) - shift
    nearest = np.minimum.accumulate(there[:, ::-1], axis=1)[:, ::-1]  # of this pixel and all to its right
    hidden: NDArray[np.bool_] = (there < 0) | (nearest < there - 0.5)
    return hidden


def _beside_edges(shift: NDArray[np.float32]) -> NDArray[np.bool_]:
    beside = np.zeros(shift.shape, bool)
    for axis in (0, 1):
        jump = np.abs(np.diff(shift, axis=axis)) > EDGE
        before, after = [slice(None)] * 2, [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        beside[tuple(before)] |= jump
        beside[tuple(after)] |= jump
    return beside
