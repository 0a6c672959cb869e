"""Where the arm goes for the pictures: near the pose that it was brought to, the hand turned this way and that."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell

from vga_bringup.calibration.solve import CalibrationError
from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.robot.safety.safety_filter import SafetyFilter

Vector = NDArray[np.float64]

AWAY = 0.3 * np.array([0.3, 0.3, 0.3, 0.5, 1.0, 1.0, 1.0])  # rad that each joint is from the first pose, at most
REACH = 0.15  # m that the hand is away from it, at most
TRIES = 200  # poses drawn for one that the driver goes to


def near(cell: Cell, start: Vector, seed: int = 0) -> Iterator[Vector]:
    """Postures (rad, [7]) around `start`, one after the other; the way to each begins where the last one was.

    Each is one that the driver will go to, by its own rules. Raises CalibrationError where there is none.
    """
    random, safety, kinematics = np.random.default_rng(seed), SafetyFilter(cell), Kinematics(cell.arm)
    middle, here = kinematics.links(start).position[-1], start
    while True:
        for _ in range(TRIES):
            there = start + AWAY * random.uniform(-1, 1, len(start))
            problem = safety.pose_problem(there.tolist()) or safety.way_problem(here, there)
            if not problem and np.linalg.norm(kinematics.links(there).position[-1] - middle) < REACH:
                break
        else:
            raise CalibrationError(
                f"the arm cannot turn this way and that from where it is: {problem or 'the hand would go too far'}; "
                "begin in another pose"
            )
        here = there
        yield there
