"""A calibration that can be relied on, or the reason why the pictures do not give one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema.cameras import PoseCheck

from vga_bringup.calibration.solve import CalibrationError, Lens, Shot, Solution, angle, board_pose, focal_share, solve

Matrix = NDArray[np.floating]

FEWEST = 8  # poses that differ
SAME_ANGLE, SAME_DISTANCE = 5.0, 0.02  # degrees, m: poses nearer than both count as one
TURNS = 15.0  # degrees that the hand turns about a second axis, at least: the spread of the poses' rotation vectors
SLANT = 60.0  # degrees from which a board is seen at a slant: its corners' places are vague then
WORST = 2.0  # px rms
SPREAD_DISTANCE, SPREAD_ANGLE = 0.01, 1.0  # m, degrees between the answers without one pose each
FOCAL = 0.03  # share by which the focal length may differ from the camera's own


@dataclass(frozen=True)
class Calibration:
    """camera: pose [4, 4] of the optical frame in its parent. error: px rms. poses: how many it comes from.

    distance, turn: how far (m, degrees) an answer without one of the poses is from it, at most. focal: what the
    pictures tell of the focal length, in shares of the camera's own. doubts: in words.
    """

    camera: Matrix
    error: float
    poses: int
    distance: float
    turn: float
    focal: float
    doubts: tuple[str, ...]

    @property
    def check(self) -> PoseCheck:
        """How well it fits, for the cell file."""
        return PoseCheck(
            error_px=round(self.error, 3),
            poses=self.poses,
            spread_m=round(self.distance, 5),
            spread_deg=round(self.turn, 3),
            focal=round(self.focal, 4),
        )


def calibrate(shots: Sequence[Shot], lens: Lens) -> Calibration:
    """From pictures of a board. Raises CalibrationError where they are too few, too similar or do not fit."""
    kept = distinct(shots)
    _require_count(shots, kept)
    _require_sight(kept, lens)
    _require_turns(kept)
    solution = solve(kept, lens)
    if solution.error > WORST:
        worst = int(np.argmax(solution.errors))
        raise CalibrationError(
            f"corners are {solution.error:.1f} px from where they should be, {WORST:g} px may be; worst is pose "
            f"{1 + _index(shots, kept[worst])} with {solution.errors[worst]:.1f} px: did board or camera slip, are the "
            "squares as large as was said?"
        )
    distance, turn = _spread(kept, lens, solution)
    if distance > SPREAD_DISTANCE or turn > SPREAD_ANGLE:
        raise CalibrationError(
            f"without one of the poses the answer is {1000 * distance:.0f} mm and {turn:.1f}° away, "
            f"{1000 * SPREAD_DISTANCE:.0f} mm and {SPREAD_ANGLE:g}° may be: take more poses, turned further"
        )
    share = focal_share(kept, lens, solution)
    doubt = f"the pictures say a focal length of {share:.3f} times the camera's own: is the square's size right?"
    doubts = (doubt,) if abs(share - 1) > FOCAL else ()
    return Calibration(solution.camera, solution.error, len(kept), distance, turn, share, doubts)


def distinct(shots: Sequence[Shot]) -> list[Shot]:
    """The shots without those in a pose that an earlier one had."""
    kept: list[Shot] = []
    for shot in shots:
        if not any(alike(shot.other, other.other) for other in kept):
            kept.append(shot)
    return kept


def alike(one: Matrix, other: Matrix) -> bool:
    """Whether two poses [4, 4] of the arm are too near each other to tell more than one of them does."""
    near = bool(np.linalg.norm(one[:3, 3] - other[:3, 3]) < SAME_DISTANCE)
    return near and angle(one[:3, :3].T @ other[:3, :3]) < SAME_ANGLE


def _require_count(shots: Sequence[Shot], kept: Sequence[Shot]) -> None:
    if len(kept) < FEWEST:
        again = len(shots) - len(kept)
        repeated = (
            f" (of {len(shots)} pictures {again} repeat one within {SAME_ANGLE:g}° and {100 * SAME_DISTANCE:g} cm)"
        )
        raise CalibrationError(
            f"too few different poses: {len(kept)}{repeated if again else ''}; take {FEWEST} in which the board is seen"
        )


def _require_turns(kept: Sequence[Shot]) -> None:
    first = kept[0].other[:3, :3]
    turns = np.degrees([cv2.Rodrigues(first.T @ shot.other[:3, :3])[0].ravel() for shot in kept])
    widths = 2 * np.linalg.svd(turns - turns.mean(axis=0), compute_uv=False) / np.sqrt(len(kept))
    if widths[1] < TURNS:
        raise CalibrationError(
            f"the poses are too similar: the hand turns by some {widths[0]:.0f}° about one axis and {widths[1]:.0f}° "
            f"about another; turn it by {TURNS:g}° and more about two"
        )


def _require_sight(kept: Sequence[Shot], lens: Lens) -> None:
    slants = [slant(shot, lens) for shot in kept]
    if sum(degrees < SLANT for degrees in slants) < FEWEST:
        raise CalibrationError(
            f"the board is seen at a slant only: from {min(slants):.0f}° to {max(slants):.0f}° off its front; turn its "
            f"face to the camera, within {SLANT:g}° in {FEWEST} poses"
        )


def slant(shot: Shot, lens: Lens) -> float:
    """Degrees between the board's normal and the line of sight to it."""
    pose = board_pose(shot.sight, lens)
    middle = (pose @ np.append(shot.sight.corners.mean(axis=0), 1.0))[:3]
    return float(np.degrees(np.arccos(abs(pose[:3, 2] @ middle) / np.linalg.norm(middle))))


def _spread(shots: Sequence[Shot], lens: Lens, whole: Solution) -> tuple[float, float]:
    """How far, m and degrees, the answers without one shot each are from that with all, at most."""
    others = [solve([*shots[:k], *shots[k + 1 :]], lens, whole).camera for k in range(len(shots))]
    distance = max(float(np.linalg.norm(other[:3, 3] - whole.camera[:3, 3])) for other in others)
    return distance, max(angle(other[:3, :3].T @ whole.camera[:3, :3]) for other in others)


def _index(shots: Sequence[Shot], wanted: Shot) -> int:
    return next(number for number, shot in enumerate(shots) if shot is wanted)
