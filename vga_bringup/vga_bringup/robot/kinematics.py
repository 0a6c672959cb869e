"""Forward kinematics of the FR3 with the Franka hand, vectorised over postures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vga_policy.contract.cell import Arm


class Kinematics:
    """Where the arm's frames are. Positions in metres in the arm's base frame."""

    def __init__(self, arm: Arm) -> None: ...

    def tcp(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pose of the tool centre point, [..., 4, 4], for joint angles q [..., 7] (rad)."""
        raise NotImplementedError

    def skeleton(self, q: NDArray[np.float64], opening: float) -> NDArray[np.float64]:
        """The arm as line segments [..., S, 2, 3], base to fingertips, for joint angles q [..., 7]."""
        raise NotImplementedError
