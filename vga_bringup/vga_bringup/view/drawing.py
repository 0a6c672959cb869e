"""A recorded episode into a Rerun recording: the robot with its cameras in 3D, curves, chunks and a log."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Camera

from vga_bringup.view.recorded import ChunkWay, Motion, Recorded

APPLICATION = "vga view"
TIME = "time"
FAN = 10  # chunks that are shown at a time, the newest the brightest
FRUSTUM = 0.12  # m
ACCEPTED, REFUSED = (0, 170, 120), (220, 60, 40)


class ViewError(Exception):
    """What cannot be looked at. The message says why and what to do."""


def load_rerun() -> Any:
    """The package. Raises ViewError where it is not installed."""
    try:
        import rerun
        import rerun.blueprint
    except ImportError:
        raise ViewError("Rerun is not installed: make setup PURPOSES=viewers") from None
    return rerun


class Drawing:
    """Writes one episode into a .rrd file.

    notes: what is not shown, and why, a line each.
    """

    def __init__(self, recorded: Recorded) -> None:
        """Raises ViewError as `load_rerun`."""
        self._rerun = load_rerun()
        self._recorded = recorded
        self.notes: list[str] = []
        self._parents = {pose.child: pose.parent for pose in recorded.fixed}
        self._parents |= {motion.child: motion.parent for motion in recorded.moving}
        self._moved_cameras = {
            camera.name: motion
            for camera in recorded.cameras
            if camera.optical_frame not in self._parents and (motion := recorded.camera_motion(camera))
        }
        self._parents |= {motion.child: motion.parent for motion in self._moved_cameras.values()}
        self._stream = self._rerun.RecordingStream(APPLICATION, recording_id=recorded.path.name)

    def save(self, file: Path) -> None:
        """Draws all of it into `file`."""
        self._stream.save(file, default_blueprint=self._blueprint())
        self._stream.send_recording_name(self._recorded.path.name)
        self._draw_robot()
        for camera in self._recorded.cameras:
            self._draw_camera(camera)
        for curve in self._recorded.curves:
            self._columns(curve.name, curve.stamps, self._rerun.Scalars.columns(scalars=curve.values))
        self._draw_chunks()
        for event in self._recorded.events:
            self._at(event.stamp)
            self._stream.log("log", self._rerun.TextLog(event.words, level=event.level))
        self._stream.flush()
        self._stream.disconnect()

    def _place(self, frame: str) -> str:
        """The entity of a frame, below those that it hangs on."""
        chain = [frame]
        while (parent := self._parents.get(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        return "/".join(["robot", *(name.replace("/", "_") for name in reversed(chain))])

    def _view_of(self, camera: Camera) -> str:
        """The entity of a camera's images: in 3D where its place is known."""
        where = camera.optical_frame
        return f"{self._place(where)}/image" if where in self._parents else f"cameras/{camera.name}"

    def _draw_robot(self) -> None:
        rerun = self._rerun
        self._stream.log("robot", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        for pose in self._recorded.fixed:
            placed = rerun.Transform3D(translation=pose.position, quaternion=pose.quaternion)
            self._stream.log(self._place(pose.child), placed, static=True)
        for motion in (*self._recorded.moving, *self._moved_cameras.values()):
            self._draw_motion(motion)
        for link in ET.fromstring(self._recorded.urdf).iter("link"):
            for number, shape in enumerate(self._shapes(link)):
                entity = f"{self._place(link.get('name', ''))}/shape_{number}"
                self._stream.log(entity, shape, static=True)

    def _draw_motion(self, motion: Motion) -> None:
        placed = self._rerun.Transform3D.columns(translation=motion.positions, quaternion=motion.quaternions)
        self._columns(self._place(motion.child), motion.stamps, placed)

    def _shapes(self, link: ET.Element) -> Iterator[Any]:
        """What a link's boxes, cylinders and balls are in Rerun; meshes are left out."""
        rerun = self._rerun
        for visual in link.iter("visual"):
            origin, color = visual.find("origin"), visual.find("material/color")
            xyz = _numbers(origin, "xyz") if origin is not None else np.zeros(3)
            rpy = _numbers(origin, "rpy") if origin is not None else np.zeros(3)
            rgba = _numbers(color, "rgba") if color is not None else np.ones(4)
            common = {
                "centers": [xyz],
                "quaternions": [rerun.Quaternion(xyzw=_quaternion(*rpy))],
                "colors": [[round(255 * value) for value in rgba]],
                "fill_mode": rerun.components.FillMode.Solid,
            }
            if (box := visual.find("geometry/box")) is not None:
                yield rerun.Boxes3D(half_sizes=[_numbers(box, "size") / 2], **common)
            elif (ball := visual.find("geometry/sphere")) is not None:
                yield rerun.Ellipsoids3D(half_sizes=[[float(ball.attrib["radius"])] * 3], **common)
            elif (rod := visual.find("geometry/cylinder")) is not None:
                size = {"lengths": [float(rod.attrib["length"])], "radii": [float(rod.attrib["radius"])]}
                yield rerun.Cylinders3D(**size, **common)

    def _draw_camera(self, camera: Camera) -> None:
        rerun, entity = self._rerun, self._view_of(camera)
        if entity.startswith("cameras/"):
            self.notes.append(f"camera {camera.name}: its place is not known (cameras[].pose): shown without a frustum")
        elif (model := self._recorded.camera_matrix(camera)) is not None:
            matrix, width, height = model
            pinhole = rerun.Pinhole(
                image_from_camera=matrix,
                resolution=[width, height],
                camera_xyz=rerun.ViewCoordinates.RDF,
                image_plane_distance=FRUSTUM,
            )
            self._stream.log(entity, pinhole, static=True)
        stamps, files = self._recorded.images(camera)
        images = rerun.EncodedImage.columns(blob=files, media_type=["image/jpeg"] * len(files))
        self._columns(entity, stamps, images)

    def _draw_chunks(self) -> None:
        """The newest chunk and those before it, a fan that fades: green where accepted, red where refused."""
        shown: list[ChunkWay] = []
        base = self._place(self._recorded.cell.arm.base_frame)
        for chunk in self._recorded.chunks:
            shown = [*shown[1 - FAN :], chunk]
            fading = np.linspace(255 / FAN, 255, FAN)[-len(shown) :]
            colors = [
                (*(REFUSED if each.refusal else ACCEPTED), round(alpha))
                for each, alpha in zip(shown, fading, strict=True)
            ]
            self._at(chunk.stamp)
            ways = self._rerun.LineStrips3D([each.way for each in shown], colors=colors, radii=0.002)
            self._stream.log(f"{base}/chunks", ways)

    def _columns(self, entity: str, stamps: NDArray[np.int64], columns: Any) -> None:
        index = self._rerun.TimeColumn(TIME, timestamp=stamps.astype("datetime64[ns]"))
        self._stream.send_columns(entity, indexes=[index], columns=columns)

    def _at(self, stamp: int) -> None:
        self._stream.set_time(TIME, timestamp=np.datetime64(stamp, "ns"))

    def _blueprint(self) -> Any:
        """3D beside the cameras, curves and the log below them."""
        blueprint = self._rerun.blueprint
        cameras = [
            blueprint.Spatial2DView(origin=self._view_of(camera), name=camera.name) for camera in self._recorded.cameras
        ]
        joints = [
            blueprint.TimeSeriesView(origin=f"joints/{name}", name=name) for name in self._recorded.cell.arm.joint_names
        ]
        return blueprint.Blueprint(
            blueprint.Vertical(
                blueprint.Horizontal(
                    blueprint.Spatial3DView(origin="robot", name="robot"),
                    blueprint.Vertical(*cameras),
                    column_shares=[3, 1],
                ),
                blueprint.Horizontal(
                    blueprint.Tabs(*joints, name="joints"),
                    blueprint.TimeSeriesView(origin="hand", name="hand"),
                    blueprint.TextLogView(origin="log", name="log"),
                ),
                row_shares=[2, 1],
            ),
            collapse_panels=True,
        )


def _numbers(element: ET.Element, key: str) -> NDArray[np.float64]:
    return np.array(element.get(key, "0 0 0").split(), float)


def _quaternion(roll: float, pitch: float, yaw: float) -> NDArray[np.float64]:
    """Unit quaternion [4] (x, y, z, w) of a rotation about x, then y, then z, the axes fixed (rad)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll / 2, pitch / 2, yaw / 2]), np.sin([roll / 2, pitch / 2, yaw / 2])
    return np.array(
        (
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        )
    )
