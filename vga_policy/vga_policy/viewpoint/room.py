"""A fixed camera's picture laid over its reference, by features of what stands still."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vga_policy.viewpoint.reference import Pixels

Points = NDArray[np.float64]

# The vertical field of view of a RealSense's 4:3 and 16:9 color profiles (D415, D435), in which turns are counted: a
# camera that sees more is said to have turned by less than it did.
FIELD_OF_VIEW = np.radians(42.6)

RATIO = 0.8  # of the distances of the best and the next match of a feature (Lowe)
TOLERANCE = 2.0  # px
FEWEST = 20  # matches that agree, for the view to be the same one
SHARE = 0.3  # of all matches, likewise
ROUNDS = 12  # in which what does not fit a rotation loses its weight


@dataclass(frozen=True)
class Alignment:
    """Where the reference's room is in a live picture.

    matrix: homography [3, 3] of their pixels, reference → live. pixels: how far what stands still has moved: of nine
    points of ten no farther. degrees: of the rotation of the camera that fits best, and misfit: what it leaves, px;
    beside `least`, what the homography leaves.
    """

    matrix: NDArray[np.float64]
    pixels: float
    degrees: float
    misfit: float
    least: float


class ViewFeatures:
    """Features of a picture: points [N, 2], px, and what each looks like."""

    def __init__(self, picture: Pixels, where: NDArray[np.bool_] | None = None) -> None:
        gray = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 0.8)
        even = cv2.createCLAHE(4.0, (4, 4)).apply(gray)  # so that a dark picture has as many
        mask = None if where is None else cv2.erode(where.astype(np.uint8) * 255, np.ones((5, 5), np.uint8))
        found, self.looks = cv2.SIFT.create(nfeatures=1500, contrastThreshold=0.01).detectAndCompute(even, mask)
        self.points = np.array([point.pt for point in found], np.float64).reshape(-1, 2)

    def matched(self, other: ViewFeatures) -> tuple[Points, Points]:
        """Points [M, 2] here and there that look alike, and like no other."""
        if min(len(self.points), len(other.points)) < 2:
            return np.empty((0, 2)), np.empty((0, 2))
        pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(self.looks, other.looks, k=2)
        sure = [best for best, next_best in pairs if best.distance < RATIO * next_best.distance]
        here, there = [match.queryIdx for match in sure], [match.trainIdx for match in sure]
        return self.points[here], other.points[there]


def align(reference: ViewFeatures, live: ViewFeatures, size: tuple[int, int]) -> Alignment | None:
    """Lays one over the other, both of pictures of this height and width; None where they do not show the same."""
    before, after = reference.matched(live)
    if len(before) < FEWEST:
        return None
    cv2.setRNGSeed(0)
    matrix, agree = cv2.findHomography(before, after, cv2.USAC_MAGSAC, TOLERANCE, maxIters=2000, confidence=0.999)
    if matrix is None or agree.sum() < max(FEWEST, SHARE * len(before)):
        return None
    before, after = before[agree.ravel() > 0], after[agree.ravel() > 0]
    laid = cv2.perspectiveTransform(before[None], matrix)[0]
    degrees, misfit = _rotation(before, after, size)
    moved = float(np.percentile(np.linalg.norm(laid - before, axis=1), 90))
    return Alignment(matrix, moved, degrees, misfit, _rest(laid - after))


def _rotation(before: Points, after: Points, size: tuple[int, int]) -> tuple[float, float]:
    """Angle (degrees) of the rotation of a camera that takes most of one to the other, and the rest, px."""
    focal = size[0] / 2 / np.tan(FIELD_OF_VIEW / 2)
    rays, wanted = _rays(before, size, focal), _rays(after, size, focal)
    weights = np.ones(len(rays))
    for _ in range(ROUNDS):
        left, _, right = np.linalg.svd((wanted * weights[:, None]).T @ rays)
        rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
        rest = (rays @ rotation.T - wanted) * focal
        weights = 1 / np.maximum(np.linalg.norm(rest, axis=1), 0.5)  # the sum of distances, not of squares
    angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    return float(np.degrees(angle)), _rest(rest)


def _rays(points: Points, size: tuple[int, int], focal: float) -> Points:
    """Unit vectors [N, 3] to pixels [N, 2]."""
    height, width = size
    rays = np.column_stack([(points - (width / 2 - 0.5, height / 2 - 0.5)) / focal, np.ones(len(points))])
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _rest(vectors: Points) -> float:
    """How long three of four are at most."""
    return float(np.percentile(np.linalg.norm(vectors, axis=1), 75))
