"""Depth as colored points: as cameras measured it, and as the policy predicts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vga_bringup.view.cameras import Cameras
from vga_bringup.view.events import BagMessage
from vga_bringup.view.geometry import APART, Cloud, Geometry, Look, depth_cloud, rgb
from vga_bringup.view.robot import DrawnRobot
from vga_bringup.view.sheet import Sheet
from vga_bringup.view.sights import DrawnCamera

PNG = b"\x89PNG"  # how what follows compressedDepth's own header begins
MILLIMETER = 1e-3  # m
RADIUS = 0.004  # m


class Clouds:
    """Draws depth.

    notes: what is not shown, and why, a line each.
    """

    def __init__(self, sheet: Sheet, robot: DrawnRobot, cameras: Cameras, geometry: Geometry) -> None:
        self._sheet, self._robot, self._cameras = sheet, robot, cameras
        self._geometry: Geometry | None = geometry
        self._waiting: dict[str, BagMessage] = {}
        self._measured: dict[str, int] = {}  # stamps (ns) by camera
        self.notes: list[str] = []

    def take_depth(self, sight: DrawnCamera, event: BagMessage) -> None:
        """Measured depth in the pixels of the color image, drawn now and then, where it is known what it belongs to.

        It is drawn when the next comes: its color image may come after it.
        """
        before = self._waiting.get(sight.name)
        self._waiting[sight.name] = event
        if before is None or 0 <= before.stamp - self._measured.get(sight.name, -APART) < APART:
            return
        jpeg = sight.image(before.stamp)
        if sight.matrix is None or not sight.frame or jpeg is None or (depth := _depth(before.message)) is None:
            return
        image = rgb(jpeg)
        if image.shape[:2] == depth.shape:
            self._measured[sight.name] = before.stamp
            self._draw(before.stamp, sight, f"measured/{sight.name}", depth_cloud(depth, image, sight.matrix))

    def look(self, stamp: int, names: Sequence[str], files: Sequence[bytes | None], instruction: str) -> None:
        """Shows the 3D heads what the policy made a chunk of, unless some of that is not here."""
        images = {name: file for name, file in zip(names, files, strict=True) if file is not None}
        felt = self._robot.proprioception(stamp)
        if self._geometry is None or len(images) != len(names) or felt is None:
            return
        if not self._cameras.sights[names[0]].frame:
            self._give_up(f"the place of camera {names[0]} is not known")
            return
        self._geometry.look(Look(stamp, images, felt, instruction))
        self.draw_seen()

    def draw_seen(self) -> None:
        """Draws what the 3D heads have said meanwhile."""
        if self._geometry is None:
            return
        try:
            seen = self._geometry.seen()
        except (
            ValueError,
            LookupError,
            RuntimeError,
            OSError,
        ) as error:  # whatever ended the other process, or stops it
            self._give_up(next(iter(str(error).splitlines()), type(error).__name__))
            return
        if seen is None:
            return
        first = self._cameras.sights[next(iter(seen.clouds))]
        for name, cloud in seen.clouds.items():
            self._draw(seen.stamp, first, f"predicted/{name}", cloud)

    def _give_up(self, why: str) -> None:
        self.notes.append(f"predicted depth is not shown: {why}")
        self._geometry = None

    def _draw(self, stamp: int, sight: DrawnCamera, name: str, cloud: Cloud) -> None:
        points = self._sheet.rerun.Points3D(cloud.points, colors=cloud.colors, radii=RADIUS)
        self._sheet.at(stamp, f"{self._robot.place(sight.frame)}/{name}", points)


def _depth(message: Any) -> NDArray[np.float32] | None:
    """Depth [H, W] (m, 0: none) of a 16UC1 Image, or of one compressed as PNG; None where it is another."""
    data = np.asarray(message.data, np.uint8)
    if hasattr(message, "format"):
        start = bytes(data[:64]).find(PNG)
        pixels = cv2.imdecode(data[start:], cv2.IMREAD_UNCHANGED) if start >= 0 else None
    elif message.encoding == "16UC1" and message.step == 2 * message.width and not message.is_bigendian:
        pixels = data.view("<u2").reshape(message.height, message.width)
    else:
        pixels = None
    return None if pixels is None or pixels.dtype != np.uint16 else pixels.astype(np.float32) * MILLIMETER
