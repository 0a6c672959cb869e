"""A camera as it is drawn upon: its latest images, and where a point in space is in them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vga_bringup.robot.bounds.kinematics import Pose

Array = NDArray[np.float64]
IMAGES_KEPT = 90  # what a policy looked at is shown when its chunk comes: 3 s at 30 a second
BETWEEN = 4  # points are drawn for one of a line, so that it ends near the border of the image
NEAREST = 0.02  # m in front of the lens; what is nearer is not drawn


@dataclass
class DrawnCamera:
    """One camera.

    entity: where its images are drawn. frame: its optical frame; empty where its place is not known. matrix [3, 3] (px)
    and size: width, height; None until they are known. images: stamp (ns) and JPEG file, newest last. pose: of the
    optical frame in the robot's base, of a simulated camera that tells it.
    """

    name: str
    entity: str
    frame: str
    matrix: Array | None = None
    size: tuple[int, int] = (0, 0)
    images: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=IMAGES_KEPT))
    pose: Pose | None = None

    def image(self, stamp: int) -> bytes | None:
        """The file of the image of this stamp (ns); None where it is not kept."""
        return next((jpeg for taken, jpeg in reversed(self.images) if taken == stamp), None)

    def project(self, ways: Array, pose: Pose) -> list[list[Array]]:
        """Of each line of points [K, N, 3] (m) the pieces that a camera at `pose` sees, as pixels [M, 2] each."""
        if self.matrix is None:
            return [[] for _ in ways]
        corners = np.arange(ways.shape[1] * BETWEEN - BETWEEN + 1) / BETWEEN
        before = np.minimum(corners.astype(int), ways.shape[1] - 2)
        share = (corners - before)[:, None]
        lines = (1 - share) * ways[:, before] + share * ways[:, before + 1]
        seen = (lines - pose.position) @ pose.rotation
        pixels = ((seen / np.maximum(seen[..., 2:], NEAREST)) @ self.matrix.T)[..., :2]
        visible = (seen[..., 2] > NEAREST) & ((pixels >= 0) & (pixels <= self.size)).all(axis=-1)
        return [_pieces(line, inside) for line, inside in zip(pixels, visible, strict=True)]


def _pieces(pixels: Array, visible: NDArray[np.bool_]) -> list[Array]:
    """What of a line [N, 2] is visible [N]."""
    if visible.all():
        return [pixels]
    edges = np.flatnonzero(np.diff(visible)) + 1
    pieces = zip(np.split(pixels, edges), np.split(visible, edges), strict=True)
    return [piece for piece, inside in pieces if inside[0] and len(piece) > 1]
