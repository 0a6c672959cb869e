"""Where a camera is on the arm or beside it, from a board on the other of the two: hand-eye calibration.

The camera's frame is fixed in one frame of the arm, the `parent`: the hand's for the wrist camera, else the base. The
board's is fixed in the other. With the pose of the other in the parent, known from the joints in each picture,

    camera in parent * board in camera = other in parent * board in other.

OpenCV's closed form (Park and Martin) gives a first answer; then all corners' distances in pixels are made least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vga_bringup.calibration.board import Sight

Matrix = NDArray[np.floating]

ROUNDS = 30
HUBER = 1.0  # px beyond which a corner counts less


class CalibrationError(ValueError):
    """Pictures from which a camera's place cannot be told, or not well enough. The message says why."""


@dataclass(frozen=True)
class Lens:
    """matrix: K [3, 3], px, of pixels whose centers are at whole numbers. distortion: k1 k2 p1 p2 k3, as OpenCV has."""

    matrix: Matrix
    distortion: Matrix


@dataclass(frozen=True)
class Shot:
    """One picture in which the board was found. other: pose [4, 4] of the board's carrier in the camera's parent."""

    sight: Sight
    other: Matrix


@dataclass(frozen=True)
class Solution:
    """camera: its optical frame in the parent [4, 4]. board: in the other. errors: px rms of each shot."""

    camera: Matrix
    board: Matrix
    errors: Matrix

    @property
    def error(self) -> float:
        """Of all, px rms."""
        return float(np.sqrt((self.errors**2).mean()))


def solve(shots: Sequence[Shot], lens: Lens, start: Solution | None = None) -> Solution:
    """The camera's pose that fits best. start: from where to look; else from OpenCV's closed form.

    Raises CalibrationError where the closed form has none.
    """
    if start is None:
        start = closed_form(shots, lens)
    unknowns, residuals = _fitted(_unknowns(start), lambda values: _residuals(values, shots, lens))
    ends = np.cumsum([2 * len(shot.sight.pixels) for shot in shots])[:-1]
    errors = np.array([np.sqrt(2 * (part**2).mean()) for part in np.split(residuals, ends)])
    return Solution(np.linalg.inv(_pose(unknowns[:6])), _pose(unknowns[6:]), errors)


def closed_form(shots: Sequence[Shot], lens: Lens, method: int = cv2.CALIB_HAND_EYE_PARK) -> Solution:
    """OpenCV's answer, with errors of zero. Raises CalibrationError where it has none."""
    parents = [np.linalg.inv(shot.other) for shot in shots]
    boards = [board_pose(shot.sight, lens) for shot in shots]
    rotation, position = cv2.calibrateHandEye(
        [pose[:3, :3] for pose in parents],
        [pose[:3, 3] for pose in parents],
        [pose[:3, :3] for pose in boards],
        [pose[:3, 3] for pose in boards],
        method=method,
    )
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = rotation, position.ravel()
    if not np.isfinite(camera).all():
        raise CalibrationError("these poses fix no place of the camera: turn the hand about two axes at least")
    return Solution(camera, parents[0] @ camera @ boards[0], np.zeros(len(shots)))


def board_pose(sight: Sight, lens: Lens) -> Matrix:
    """The board's pose [4, 4] in the camera's optical frame, from one picture."""
    _, turn, position = cv2.solvePnP(sight.corners, sight.pixels, lens.matrix, lens.distortion, flags=cv2.SOLVEPNP_IPPE)
    _, turn, position = cv2.solvePnP(
        sight.corners, sight.pixels, lens.matrix, lens.distortion, turn, position, useExtrinsicGuess=True
    )
    return _pose(np.concatenate([turn.ravel(), position.ravel()]))


def focal_share(shots: Sequence[Shot], lens: Lens, solution: Solution) -> float:
    """Focal length that fits best with the camera's pose, which was solved, in shares of the lens's.

    The arm's motion tells it: boards that hardly tilt, alone, leave it open by several percent.
    """

    def residuals(values: Matrix) -> Matrix:
        matrix = lens.matrix * np.array([[values[-1], 1, 1], [1, values[-1], 1], [1, 1, 1]])
        return _residuals(values[:-1], shots, Lens(matrix, lens.distortion))

    unknowns, _ = _fitted(np.append(_unknowns(solution), 1.0), residuals)
    return float(unknowns[-1])


def angle(rotation: Matrix) -> float:
    """Of a rotation [3, 3], degrees."""
    return float(np.degrees(np.linalg.norm(cv2.Rodrigues(rotation)[0])))


def _fitted(unknowns: Matrix, residuals_of: Callable[[Matrix], Matrix]) -> tuple[Matrix, Matrix]:
    """The unknowns at which the residuals are least, from these on, and the residuals there (Levenberg-Marquardt)."""
    damping, residuals = 1e-3, residuals_of(unknowns)
    for _ in range(ROUNDS):
        steps = 1e-6 * np.eye(len(unknowns))
        jacobian = np.stack([(residuals_of(unknowns + step) - residuals) / 1e-6 for step in steps])
        weights = np.minimum(1.0, HUBER / np.maximum(np.abs(residuals), 1e-12))
        normal = (jacobian * weights) @ jacobian.T
        change = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -(jacobian * weights) @ residuals)
        tried = residuals_of(unknowns + change)
        if _cost(tried) < _cost(residuals):
            gain = _cost(residuals) - _cost(tried)
            unknowns, residuals, damping = unknowns + change, tried, damping / 5
            if gain < 1e-9 * _cost(residuals):
                break
        else:
            damping *= 5
    return unknowns, residuals


def _unknowns(solution: Solution) -> Matrix:
    """The poses of a solution as a vector [12]."""
    return np.concatenate([_vector(np.linalg.inv(solution.camera)), _vector(solution.board)])


def _residuals(unknowns: Matrix, shots: Sequence[Shot], lens: Lens) -> Matrix:
    """Pixels between where corners are seen and where they are to be seen: x and y of each, of all shots."""
    eye, board = _pose(unknowns[:6]), _pose(unknowns[6:])
    parts = []
    for shot in shots:
        vector = _vector(eye @ shot.other @ board)
        seen, _ = cv2.projectPoints(shot.sight.corners, vector[:3], vector[3:], lens.matrix, lens.distortion)
        parts.append((seen.reshape(-1, 2) - shot.sight.pixels).ravel())
    return np.concatenate(parts)


def _cost(residuals: Matrix) -> float:
    """Huber's."""
    size = np.abs(residuals)
    return float(np.where(size <= HUBER, size**2 / 2, HUBER * (size - HUBER / 2)).sum())


def _pose(vector: Matrix) -> Matrix:
    """Rotation vector (rad) and position (m) [6] as a matrix [4, 4]."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(vector[:3])[0], vector[3:]
    return pose


def _vector(pose: Matrix) -> Matrix:
    return np.concatenate([cv2.Rodrigues(pose[:3, :3])[0].ravel(), pose[:3, 3]])
