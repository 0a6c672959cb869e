"""Places for fixed cameras, drawn at random: around the table, and clear of the camera that policies meet unseen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from vga_bringup.sim.scene.views import VIEWS, View

UNSEEN = "fixed_2"
CLEAR_DISTANCE = 0.40  # m: no camera is nearer to the unseen one
CLEAR_ANGLE = 30.0  # degrees: and none looks in a direction nearer to its

UPRIGHT = (0.0, 0.0, 1.0)
FRONT = np.radians(110.0)  # to either side of the table's far edge: behind that, the arm is in the way


@dataclass(frozen=True)
class Clearance:
    """How near a camera, or several, come to the unseen one: m, degrees."""

    distance: float
    angle: float

    def keeps(self, margin: float = 1.0) -> bool:
        """Whether the unseen camera is kept clear of, by `margin` times what is asked for."""
        return self.distance > margin * CLEAR_DISTANCE and self.angle > margin * CLEAR_ANGLE


def clearance_of(pose: NDArray[np.float64]) -> Clearance:
    """How far a camera pose [4, 4] in the arm's base frame is from the unseen camera's."""
    return _clearance(pose[:3, 3], pose[:3, 2])


def around(random: Generator) -> View:
    """A camera that looks at the table from anywhere above it; it may be too near the unseen one."""
    target = np.array([0.45, 0.0, 0.12]) + random.uniform(-1, 1, 3) * (0.12, 0.15, 0.10)
    azimuth, elevation = random.uniform(-np.pi, np.pi), np.radians(random.uniform(15.0, 70.0))
    up = UPRIGHT + random.normal(0.0, 0.05, 3)
    return _view(target, _ray(azimuth, elevation), random.uniform(0.65, 1.5), up)


def in_front(random: Generator) -> View:
    """A camera where a lab would put one: before or beside the table, the work in its picture, clear of the unseen."""
    while True:
        target = np.array([0.44, 0.0, 0.16]) + random.uniform(-1, 1, 3) * (0.06, 0.06, 0.05)
        ray = _ray(random.uniform(-FRONT, FRONT), np.radians(random.uniform(20.0, 60.0)))
        view = _view(target, ray, random.uniform(0.9, 1.35), UPRIGHT)
        if _clearance(view.position, -ray).keeps():
            return view


def _clearance(position: ArrayLike, axis: NDArray[np.float64]) -> Clearance:
    """`axis`: the direction [3] a camera looks in, of unit length."""
    unseen = VIEWS[UNSEEN]
    looks = np.subtract(unseen.target, unseen.position)
    cosine = axis @ looks / np.linalg.norm(looks)
    return Clearance(
        distance=float(np.linalg.norm(np.subtract(position, unseen.position))),
        angle=float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))),
    )


def _ray(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """The direction [3] from the table to a camera; azimuth from the base frame's x towards y, rad."""
    level = np.cos(elevation)
    return np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])


def _view(target: NDArray[np.float64], ray: NDArray[np.float64], distance: float, up: ArrayLike) -> View:
    position = target + distance * ray
    return View("world", *(tuple(np.asarray(point, float).tolist()) for point in (position, target, up)))
