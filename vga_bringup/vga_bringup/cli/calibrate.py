"""`vga calibrate camera`: takes pictures of the board beside the running graph, and writes the camera's pose."""

from __future__ import annotations

import argparse
import sys
from threading import Event

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, JointState
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.display import Display
from vga_policy.observation.resampler import JpegImage
from vga_policy.ros import topics
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.session import ELSEWHERE, Session, stop_request
from vga_policy.units import nanoseconds

from vga_bringup.calibration.board import Board
from vga_bringup.calibration.calibrate import Calibration, alike, calibrate
from vga_bringup.calibration.cell_file import as_pose, parent_of, write_pose
from vga_bringup.calibration.solve import CalibrationError, Lens, Shot
from vga_bringup.robot.bounds.kinematics import Kinematics

FOUND_WITHIN = 5.0  # s
AT_REST = 0.002  # rad that no joint leaves
REST = 0.5  # s for which it does not, before a picture


def run(arguments: argparse.Namespace) -> int:
    """Takes the pictures, solves, writes: 0; 1 with the reason."""
    path = cell_path(arguments.cell)
    cell = load_cell(path)
    camera = cell.camera(arguments.name)
    try:
        shots, lens, size = _pictures(cell, arguments)
        found = calibrate(shots, lens, size)
        write_pose(path, camera.name, as_pose(found.camera, parent_of(camera, cell)))
    except (CalibrationError, CellError) as error:
        print(f"vga calibrate camera: {camera.name}: {error}", file=sys.stderr)
        return 1
    print(f"{path}: pose of {camera.name} written: {_in_words(found)}")
    for doubt in found.doubts:
        print(f"vga calibrate camera: {camera.name}: warning: {doubt}", file=sys.stderr)
    return 0


def _in_words(found: Calibration) -> str:
    return (
        f"{found.error:.2f} px from {found.poses} poses; without any one of them it is within "
        f"{1000 * found.distance:.1f} mm and {found.turn:.2f}°"
    )


def _pictures(cell: Cell, arguments: argparse.Namespace) -> tuple[list[Shot], Lens, tuple[int, int]]:
    """One picture for every pose in which the arm rests. Raises CalibrationError where no pictures come."""
    display, names = Display(), topics.camera(arguments.name)
    with stop_request() as stop, Session("vga_calibrate", arguments.namespace) as session:
        images = Newest(session, CompressedImage, names.compressed, topics.SENSOR_DATA)
        infos = Newest(session, CameraInfo, names.info, topics.SENSOR_DATA)
        joints = Newest(session, JointState, topics.JOINT_STATES, topics.SENSOR_DATA)
        sources = (images, infos, joints)
        session.spin_until(lambda: stop.is_set() or all(source.message for source in sources), FOUND_WITHIN)
        if silent := [source.topic for source in sources if source.message is None]:
            raise CalibrationError(f"nothing on {', '.join(silent)}: {ELSEWHERE}")
        info = infos.message
        lens = Lens(np.array(info.k).reshape(3, 3), np.array(info.d or [0.0] * 5))
        album = _Album(cell, arguments)
        while len(album.shots) < arguments.poses and not stop.is_set():
            display.show(album.look(session, images, joints, stop))
    return album.shots, lens, (info.width, info.height)


class _Album:
    """The pictures so far."""

    def __init__(self, cell: Cell, arguments: argparse.Namespace) -> None:
        self.shots: list[Shot] = []
        self._wanted = arguments.poses
        self._board = Board(arguments.square / 1000)
        self._names = cell.arm.joint_names
        self._kinematics = Kinematics(cell.arm)
        self._on_wrist = cell.camera(arguments.name).role == "wrist"

    def look(self, session: Session, images: Newest, joints: Newest, stop: Event) -> str:
        """Waits REST; takes a picture where the arm rested in a new pose. Returns in words how it stands."""
        before = self._angles(joints)
        session.spin_until(stop.is_set, REST)
        after = self._angles(joints)
        so_far = f"{len(self.shots)} of {self._wanted}"
        if before is None or after is None or images.message is None:
            return f"{so_far}: no pictures, or no joint states, come any more"
        if np.abs(after - before).max() > AT_REST:
            return f"{so_far}: the arm moves"
        if nanoseconds(images.message.header.stamp) < nanoseconds(joints.message.header.stamp) - round(REST * 1e9):
            return f"{so_far}: the picture is older than the arm's rest"
        other = self._other(after)
        if any(alike(other, shot.other) for shot in self.shots):
            return f"{so_far}: this pose is taken; turn the hand by 15° and more, about another axis than last time"
        sight = self._board.find(JpegImage(bytes(images.message.data)).decode())
        if sight is None:
            return f"{so_far}: the board is not seen, or too little of it: whole, lit, its face to the camera"
        self.shots.append(Shot(sight, other))
        return f"{len(self.shots)} of {self._wanted}: taken, with {len(sight.pixels)} corners; next pose"

    def _angles(self, joints: Newest) -> NDArray[np.float64] | None:
        if (message := joints.message) is None:
            return None
        angles = dict(zip(message.name, message.position, strict=True))
        return np.array([angles[name] for name in self._names])

    def _other(self, q: NDArray[np.float64]) -> NDArray[np.floating]:
        """What carries the board, in what carries the camera [4, 4]: the base in the hand, or the hand in the base."""
        links, hand = self._kinematics.links(q), np.eye(4)
        hand[:3, :3], hand[:3, 3] = links.rotation[-1], links.position[-1]
        return np.asarray(np.linalg.inv(hand)) if self._on_wrist else hand
