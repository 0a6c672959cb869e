"""What the policy saw and meant to do: its inputs, and its chunks in space and in every image."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from vga_policy.checkpoints import locate
from vga_policy.inference.preprocess import square
from vga_policy.message_constants import Refusal
from vga_policy.units import SECOND, nanoseconds

from vga_bringup.view.cameras import Cameras
from vga_bringup.view.clouds import Clouds
from vga_bringup.view.fan import FAN, Fan, PlannedPath
from vga_bringup.view.robot import DrawnRobot
from vga_bringup.view.sheet import Sheet
from vga_bringup.view.sights import DrawnCamera

JPEG_QUALITY = 90
LABEL = (240, 130, 0)  # to be read on light and on dark
Array = NDArray[np.float64]


class Plans:
    """Draws chunks with what they were made from.

    views: names of the cameras that the policy sees, in its order, as of the newest chunk.
    """

    def __init__(
        self, sheet: Sheet, robot: DrawnRobot, cameras: Cameras, clouds: Clouds | None, views: Sequence[str]
    ) -> None:
        """clouds: of what the policy knows of depth; None: not asked for."""
        self._sheet, self._robot, self._cameras, self._clouds = sheet, robot, cameras, clouds
        self._input_size: int | None = None  # side (px) of the squares that the policy sees; None: not known
        self._instruction = self._checkpoint = ""
        self._fan = Fan()
        self._undrawn: deque[PlannedPath] = deque(maxlen=FAN)
        self.views = tuple(views)

    def take_chunk(self, message: Any) -> None:
        """A chunk: drawn once its verdict is there, or the next chunk."""
        self._draw_undrawn()
        points = message.trajectory.points
        if len(points) < 2:
            raise ValueError(f"{len(points)} steps make no way")
        positions = np.array([point.positions for point in points])
        chunk = PlannedPath(
            bytes(message.goal_id.uuid),
            int(message.sequence),
            nanoseconds(message.header.stamp),
            self._robot.way(message.trajectory.joint_names, positions),
        )
        self._fan.add(chunk)
        self._undrawn.append(chunk)
        self.views = tuple(message.cameras)
        self._draw_inputs(message, chunk)

    def take_diagnostics(self, message: Any) -> None:
        """Which policy this is, and what it does."""
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if "checkpoint" in values:
                self._instruction = values.get("instruction") or self._instruction
                if values["checkpoint"] != self._checkpoint:
                    self._checkpoint = values["checkpoint"]
                    self._input_size = image_size(self._checkpoint)

    def take_verdict(self, message: Any) -> None:
        """What the driver decided."""
        heeded = message.reason != Refusal.TAKEN_OVER
        accepted = bool(message.accepted) if heeded else None
        if self._fan.decide(bytes(message.goal_id.uuid), int(message.sequence), accepted) is not None:
            self._draw_undrawn()

    def close(self) -> None:
        """Draws what has waited for its verdict in vain."""
        self._draw_undrawn()

    def _draw_undrawn(self) -> None:
        while self._undrawn:
            self._draw(self._undrawn.popleft())

    def _draw(self, newest: PlannedPath) -> None:
        fan = self._fan.until(newest)
        rerun, stamp = self._sheet.rerun, newest.stamp
        widths = [width / 2 for _, _, width in fan]
        colors = [color for _, color, _ in fan]
        base = self._robot.place(self._robot.tree.root)
        ways = rerun.LineStrips3D(
            [chunk.way for chunk, _, _ in fan], colors=colors, radii=rerun.Radius.ui_points(widths)
        )
        self._sheet.at(stamp, f"{base}/chunks", ways)
        steps = rerun.Points3D(newest.way, colors=newest.color, radii=rerun.Radius.ui_points(3.0))
        self._sheet.at(stamp, f"{base}/chunks/steps", steps)
        for sight in self._cameras.sights.values():
            self._draw_in(sight, fan, widths, stamp)

    def _draw_in(self, sight: DrawnCamera, fan: list[Any], widths: list[float], stamp: int) -> None:
        """The fan in a camera's image, and in the square of it that the policy saw."""
        if sight.matrix is None or not sight.frame:
            return
        same = [entry for entry in zip(fan, widths, strict=True) if len(entry[0][0].way) == len(fan[-1][0].way)]
        lines = self._cameras.lines(sight, np.stack([chunk.way for (chunk, _, _), _ in same]), stamp)
        drawn = [
            (piece, color, width)
            for ((_, color, _), width), pieces in zip(same, lines, strict=True)
            for piece in pieces
        ]
        pieces, colors, radii = zip(*drawn, strict=True) if drawn else ((), (), ())
        rerun = self._sheet.rerun
        style = {"colors": colors, "radii": rerun.Radius.ui_points(radii)}
        self._sheet.at(stamp, f"{sight.entity}/chunks", rerun.LineStrips2D(pieces, **style))
        if sight.name in self.views:
            squeeze = np.array((1.0, 1.0)) if self._input_size is None else self._input_size / np.array(sight.size)
            squeezed = [piece * squeeze for piece in pieces]
            self._sheet.at(stamp, f"inputs/{sight.name}/chunks", rerun.LineStrips2D(squeezed, **style))

    def _draw_inputs(self, message: Any, chunk: PlannedPath) -> None:
        rerun = self._sheet.rerun
        ready, files = nanoseconds(message.inference_end), []
        for name, stamp in zip(message.cameras, map(nanoseconds, message.image_stamps), strict=False):
            age = 1e-6 * (ready - stamp)
            self._sheet.row(chunk.stamp, f"policy/{name}", "Scalars", scalars=age)
            sight = self._cameras.sights.get(name)
            files.append(jpeg := None if sight is None else sight.image(stamp))
            if sight is None or jpeg is None:
                continue
            taken = datetime.fromtimestamp(stamp / SECOND, UTC)
            words = f"{taken:%H:%M:%S}.{taken.microsecond // 1000:03d}, {age:.0f} ms old"
            entity, blob = f"inputs/{name}", squeezed(jpeg, self._input_size)
            self._sheet.at(chunk.stamp, entity, rerun.EncodedImage(contents=blob, media_type="image/jpeg"))
            width = sight.size[0] if self._input_size is None else self._input_size
            label = rerun.Points2D([(width / 2, 0.0)], labels=words, show_labels=True, radii=0.0, colors=[LABEL])
            self._sheet.at(chunk.stamp, f"{entity}/age", label)
        if self._clouds is not None:
            self._clouds.look(chunk.stamp, message.cameras, files, self._instruction)


def image_size(checkpoint: str) -> int | None:
    """Side (px) of the squares that a checkpoint's policy sees; None where it is not on this machine."""
    try:
        return int(json.loads((locate(checkpoint) / "config.json").read_text(encoding="utf-8"))["model"]["image_size"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def squeezed(jpeg: bytes, size: int | None) -> bytes:
    """The JPEG file of an image as the policy sees it, a square of this side (px); itself where that is not known."""
    image = None if size is None else cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None or size is None:
        return jpeg
    return cv2.imencode(".jpg", square(image, size), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
