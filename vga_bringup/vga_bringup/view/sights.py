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
class Sight:
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

    def project(self, points: Array, pose: Pose) -> list[Array]:
        """The pieces of a line of points [N, 3] (m) that a camera at `pose` sees, as pixels [M, 2] each."""
        if self.matrix is None:
            return []
        places = np.arange((len(points) - 1) * BETWEEN + 1) / BETWEEN
        line = np.stack([np.interp(places, np.arange(len(points)), axis) for axis in points.T], axis=-1)
        seen = (line - pose.position) @ pose.rotation
        depth = np.maximum(seen[:, 2:], NEAREST)
        pixels = ((seen / depth) @ self.matrix.T)[:, :2]
        visible = (seen[:, 2] > NEAREST) & ((pixels >= 0) & (pixels <= self.size)).all(axis=1)
        edges = np.flatnonzero(np.diff(visible)) + 1
        pieces = zip(np.split(pixels, edges), np.split(visible, edges), strict=True)
        return [piece for piece, inside in pieces if inside[0] and len(piece) > 1]
