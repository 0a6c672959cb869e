"""The pictures of a calibration so far, and whether another one belongs among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell

from vga_bringup.calibration.board import Board
from vga_bringup.calibration.calibrate import alike
from vga_bringup.calibration.solve import Shot
from vga_bringup.robot.bounds.kinematics import Kinematics


class Album:
    """Takes pictures of the camera of this name. wanted: how many."""

    def __init__(self, cell: Cell, camera: str, board: Board, wanted: int) -> None:
        self.shots: list[Shot] = []
        self.camera, self.wanted, self._board = camera, wanted, board
        self._kinematics = Kinematics(cell.arm)
        self._on_wrist = cell.camera(camera).role == "wrist"

    @property
    def full(self) -> bool:
        """Whether there are as many as wanted."""
        return len(self.shots) >= self.wanted

    @property
    def count(self) -> str:
        """In words."""
        return f"{len(self.shots)} of {self.wanted}"

    def is_new(self, q: NDArray[np.float64]) -> bool:
        """Whether no picture was taken in a pose like this one (rad, [7])."""
        other = self._other(q)
        return not any(alike(other, shot.other) for shot in self.shots)

    def take(self, picture: NDArray[np.uint8], q: NDArray[np.float64]) -> int:
        """Takes a picture [H, W, 3], RGB, seen while the arm rested at `q`; how many corners, 0 where it was not."""
        sight = self._board.find(picture)
        if sight is None:
            return 0
        self.shots.append(Shot(sight, self._other(q)))
        return len(sight.pixels)

    def _other(self, q: NDArray[np.float64]) -> NDArray[np.floating]:
        """What carries the board, in what carries the camera [4, 4]: the base in the hand, or the hand in the base."""
        links, hand = self._kinematics.links(q), np.eye(4)
        hand[:3, :3], hand[:3, 3] = links.rotation[-1], links.position[-1]
        return np.asarray(np.linalg.inv(hand)) if self._on_wrist else hand
