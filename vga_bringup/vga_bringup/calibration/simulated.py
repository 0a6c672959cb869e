"""The calibration board in the simulated cell: on the table before the wrist camera, or in the hand before the others.

Tasks by entry point, as a lab's own are: `vga sim --task board_in_hand --policy false`. One only looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from vga_policy.evaluate.environment import Judgement

from vga_bringup.calibration.board import COLUMNS, MODULES, ROWS, Board
from vga_bringup.robot.bounds.kinematics import rotation
from vga_bringup.sim.scene.objects import TABLE, Object, Placement
from vga_bringup.sim.scene.task import Arrangement, Drawn, Scene, Task

BOARD = "board"
THICKNESS = 0.003  # m
INK = 0.0003  # m, by which the black stands out of the white, so that both are drawn

# On the table its face is up; the hand holds it by its upper long edge, its face forward and up by LOOKS_UP.
UNDER_WRIST = Placement(0.37, 0.0)
HELD_AT = (0.0, 0.0, 0.20)  # m in the hand's frame, its middle
LOOKS_UP = 24.0  # degrees


def board_mjcf(board: Board, middle: NDArray[np.float64]) -> str:
    """A board as MJCF boxes that nothing touches. middle: pose [4, 4]; x along its 5 squares, z behind its face."""
    edge, wide, high = board.square / MODULES, COLUMNS * board.square, ROWS * board.square
    parts: list[str] = []

    def box(center: tuple[float, float, float], size: tuple[float, float, float], color: str) -> None:
        at, quaternion = middle[:3, :3] @ center + middle[:3, 3], np.empty(4)
        mujoco.mju_mat2Quat(quaternion, middle[:3, :3].ravel())
        half, at_text, turn = (" ".join(f"{x:.7g}" for x in row) for row in (np.array(size) / 2, at, quaternion))
        parts.append(
            f'<geom type="box" size="{half}" pos="{at_text}" quat="{turn}" rgba="{color} 1" contype="0" '
            'conaffinity="0" mass="0"/>'
        )

    box((0.0, 0.0, THICKNESS / 2), (wide + board.square, high + board.square, THICKNESS), "0.95 0.95 0.95")
    for row, column, length in board.runs():
        center = ((column + length / 2) * edge - wide / 2, (row + 0.5) * edge - high / 2, 0.0)
        box(center, (length * edge, edge, 2 * INK), "0.05 0.05 0.05")
    return "".join(parts)


def _on_table() -> Object:
    middle = np.eye(4)
    middle[:3, :3] = rotation(roll=np.pi)
    middle[2, 3] = THICKNESS
    return Object(board_mjcf(Board(), middle), height=0.0, placement=UNDER_WRIST, fixed=True)


def _in_hand() -> Object:
    """Its 7 squares lie level. In the hand's frame x is forward and z points from the hand to the fingertips."""
    middle, up = np.eye(4), np.radians(LOOKS_UP)
    back = np.array((-np.cos(up), 0.0, np.sin(up)))
    level = np.array((0.0, 1.0, 0.0))
    middle[:3, :3] = np.stack((np.cross(level, back), level, back), axis=1)
    middle[:3, 3] = HELD_AT
    return Object(board_mjcf(Board(), middle), height=0.0, placement=Placement(0.0, 0.0), held=True)


def _draw(_: Generator) -> Drawn:
    return BOARD, {}


def _judge(_: Scene, __: Arrangement) -> Judgement:
    return Judgement(False, False, "a board to calibrate cameras by")


def _stand_still(_: object, __: Arrangement) -> Iterator[None]:
    return iter(())


_LOOK = "look at the board"
ON_TABLE = Task(_LOOK, _draw, _judge, _stand_still, objects={BOARD: _on_table()})
IN_HAND = Task(_LOOK, _draw, _judge, _stand_still, objects={**TABLE, BOARD: _in_hand()})
