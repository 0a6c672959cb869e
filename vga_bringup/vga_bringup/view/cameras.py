"""The cameras: their images where they were taken, and lines drawn into them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from vga_policy.episodes import topics

from vga_bringup.robot.bounds.kinematics import Pose
from vga_bringup.view.events import BagMessage
from vga_bringup.view.robot import DrawnRobot
from vga_bringup.view.sheet import Sheet
from vga_bringup.view.sights import DrawnCamera

FRUSTUM = 0.12  # m
OPTICAL = "_color_optical_frame"  # behind a camera's name, as cell files and realsense-ros call it
FRUSTUM_COLOR = (255, 200, 60)
Array = NDArray[np.float64]


class Cameras:
    """The cameras that images come from.

    sights: by name.
    """

    def __init__(self, sheet: Sheet, robot: DrawnRobot) -> None:
        self._sheet, self._robot = sheet, robot
        self.sights: dict[str, DrawnCamera] = {}

    def find(self, topic_names: Collection[str]) -> list[DrawnCamera]:
        """Those among these topics that are new, in the order of their names. Where the others are may be known now."""
        for name, sight in self.sights.items():
            if not sight.frame and (placed := self._sight(name, topic_names)).frame:
                sight.frame, sight.entity, sight.matrix = placed.frame, placed.entity, None  # its lens is drawn there
        images = {topics.image_topic(topics.camera_of(name)) for name in topic_names}
        names = {topics.camera_of(name) for name in topic_names if name in images}
        new = {name: self._sight(name, topic_names) for name in sorted(names - self.sights.keys())}
        self.sights |= new
        return list(new.values())

    @property
    def notes(self) -> list[str]:
        """Whose place is not known, a line each."""
        return [
            f"camera {name}: its place is not known (cameras[].pose): shown without a frustum"
            for name, sight in self.sights.items()
            if not sight.frame
        ]

    @property
    def entities(self) -> dict[str, str]:
        """Where each one's images are, by its name."""
        return {name: sight.entity for name, sight in self.sights.items()}

    def take_info(self, sight: DrawnCamera, event: BagMessage) -> None:
        """What is known of the lens, the first time."""
        if sight.matrix is not None:
            return
        info, rerun = event.message, self._sheet.rerun
        sight.matrix, sight.size = np.array(info.k, float).reshape(3, 3), (int(info.width), int(info.height))
        if sight.frame:
            pinhole = rerun.Pinhole(
                image_from_camera=sight.matrix,
                resolution=sight.size,
                camera_xyz=rerun.ViewCoordinates.RDF,
                image_plane_distance=FRUSTUM,
                color=FRUSTUM_COLOR,
            )
            self._sheet.still(sight.entity, pinhole)

    def take_image(self, sight: DrawnCamera, event: BagMessage, *, drawn: bool) -> None:
        """An image: kept, and drawn too."""
        jpeg = bytes(event.message.data)
        sight.images.append((event.stamp, jpeg))
        if drawn:
            self._sheet.row(event.stamp, sight.entity, "EncodedImage", blob=jpeg, media_type="image/jpeg")

    def take_pose(self, sight: DrawnCamera, event: BagMessage) -> None:
        """The true place of a simulated camera that the description does not have."""
        if not sight.frame or sight.frame in self._robot.tree.joints:
            return
        pose = event.message.pose
        place = np.array([pose.position.x, pose.position.y, pose.position.z])
        turn = np.array([pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w])
        sight.pose = Pose(_matrix(turn), place)
        self._sheet.row(event.stamp, self._robot.place(sight.frame), "Transform3D", translation=place, quaternion=turn)

    def pose(self, sight: DrawnCamera, stamp: int) -> Pose | None:
        """Where a camera was in the robot's base; None where that is not known."""
        return sight.pose if sight.pose is not None else self._robot.pose(sight.frame, stamp)

    def lines(self, sight: DrawnCamera, ways: Array, stamp: int) -> list[list[Array]]:
        """Ways [K, N, 3] (m, in the base) as the camera saw them at `stamp` (ns): of each, pieces in pixels [M, 2]."""
        pose = self.pose(sight, stamp)
        return [[] for _ in ways] if pose is None else sight.project(ways, pose)

    def _sight(self, name: str, topic_names: Collection[str]) -> DrawnCamera:
        prefix = self._robot.tree.root.rpartition("/")[0]
        frame = f"{prefix}/{name}{OPTICAL}" if prefix else f"{name}{OPTICAL}"
        if topics.camera_topics(name).pose in topic_names:
            self._robot.hang(frame, self._robot.tree.root)
        if not self._robot.knows(frame):
            return DrawnCamera(name, f"cameras/{name}", "")
        return DrawnCamera(name, f"{self._robot.place(frame)}/image", frame)


def _matrix(quaternion: Array) -> Array:
    """The rotation matrix [3, 3] of a unit quaternion [4] (x, y, z, w)."""
    x, y, z, w = quaternion
    cross = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    return np.asarray(np.eye(3) + 2.0 * (w * cross + cross @ cross))
