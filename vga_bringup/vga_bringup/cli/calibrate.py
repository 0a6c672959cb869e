"""`vga calibrate camera`: takes pictures of the board beside the running graph, and writes the camera's pose."""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from threading import Event

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, JointState
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.display import SPARSE, Display
from vga_policy.observation.resampler import JpegImage
from vga_policy.ros import topics
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.session import ELSEWHERE, Session, stop_request
from vga_policy.ros.errors import GraphError
from vga_policy.units import SECOND, nanoseconds

from vga_bringup.calibration.album import Album
from vga_bringup.calibration.board import Board
from vga_bringup.calibration.calibrate import Calibration, calibrate
from vga_bringup.calibration.cell_file import as_pose, parent_of, write_pose
from vga_bringup.calibration.poses import near
from vga_bringup.calibration.solve import CalibrationError, Lens

FOUND_WITHIN = 5.0  # s
AT_REST = 0.002  # rad that no joint leaves
REST = 0.5  # s for which it does not, before a picture
RESTS_WITHIN = 5.0  # s
MISSES = 3  # poses gone to, for each picture wanted: the board is not seen in all
NOT_SEEN = "the board is not seen, or too little of it: whole, lit, its face to the camera"


def run(arguments: argparse.Namespace) -> int:
    """Takes the pictures, solves, writes: 0; 1 with the reason."""
    path = cell_path(arguments.cell)
    cell = load_cell(path)
    camera = cell.camera(arguments.name)
    album = Album(cell, camera.name, Board(arguments.square / 1000), arguments.poses)
    try:
        lens = _fill(album, cell, arguments)
        found = calibrate(album.shots, lens)
        write_pose(path, camera.name, as_pose(found.camera, parent_of(camera, cell), found.check))
    except (CalibrationError, CellError, GraphError) as error:
        print(f"vga calibrate camera: {camera.name}: {error}", file=sys.stderr)
        return 1
    print(f"{path}: pose of {camera.name} written: {_in_words(found)}")
    for doubt in found.doubts:
        print(f"vga calibrate camera: {camera.name}: warning: {doubt}", file=sys.stderr)
    return 0


def _in_words(found: Calibration) -> str:
    return (
        f"{found.error:.2f} px from {found.poses} poses; without any one of them it is within "
        f"{1000 * found.distance:.1f} mm and {found.turn:.2f}°; focal length {found.focal:.3f} of the camera's own"
    )


def _fill(album: Album, cell: Cell, arguments: argparse.Namespace) -> Lens:
    """Takes the album's pictures until it is full, or Ctrl-C; the camera's lens.

    Raises CalibrationError where no pictures come or the board is not seen, GraphError where the arm does not move.
    """
    display = Display(every=SPARSE)
    with stop_request() as stop, Session("vga_calibrate", arguments.namespace) as session:
        studio = _Studio(session, cell, album, stop)
        info = studio.info()
        if arguments.by_hand:
            studio.wait_for_hands(display)
        else:
            studio.go_round(DriverClient(session), display)
    return Lens(np.array(info.k).reshape(3, 3), np.array(info.d or [0.0] * 5))


class _Studio:
    """Camera and arm of the running graph."""

    def __init__(self, session: Session, cell: Cell, album: Album, stop: Event) -> None:
        self._session, self._cell, self._album, self._stop = session, cell, album, stop
        names = topics.camera(album.camera)
        self._images = Newest(session, CompressedImage, names.compressed, topics.SENSOR_DATA)
        self._infos = Newest(session, CameraInfo, names.info, topics.SENSOR_DATA)
        self._joints = Newest(session, JointState, topics.JOINT_STATES, topics.SENSOR_DATA)

    def info(self) -> CameraInfo:
        """The camera's parameters, once everything is heard. Raises CalibrationError naming what is not."""
        sources = (self._images, self._infos, self._joints)
        self._session.spin_until(lambda: self._stop.is_set() or all(source.message for source in sources), FOUND_WITHIN)
        if silent := [source.topic for source in sources if source.message is None]:
            raise CalibrationError(f"nothing on {', '.join(silent)}: {ELSEWHERE}")
        return self._infos.message

    def wait_for_hands(self, display: Display) -> None:
        """A picture whenever somebody has brought the arm to rest in a new pose."""
        while not (self._album.full or self._stop.is_set()):
            before = len(self._album.shots)
            how = self._take() if self._rests() else f"{self._album.count}: the arm moves"
            (display.say if len(self._album.shots) > before else display.show)(how)

    def go_round(self, driver: DriverClient, display: Display) -> None:
        """A picture where the arm is, then in poses near there, which the driver goes to; in the end it goes back."""
        start = self._angles()
        self._settle()
        display.say(self._take())
        if not self._album.shots:
            raise CalibrationError(f"{NOT_SEEN}; bring the arm to a pose where it is, then begin")
        most = MISSES * self._album.wanted
        try:
            for number, q in enumerate(islice(near(self._cell, start), most), 1):
                display.show(f"{self._album.count}: the arm goes to pose {number} of {most} at most")
                driver.home(q.tolist(), stop=self._stop)
                self._settle()
                display.say(self._take())
                if self._album.full:
                    break
            driver.home(start.tolist(), stop=self._stop)
        except GraphError:
            if not self._stop.is_set():
                raise

    def _settle(self) -> None:
        self._session.spin_until(lambda: self._stop.is_set() or self._rests(), RESTS_WITHIN)

    def _rests(self) -> bool:
        """Waits REST; whether the arm rested so long."""
        before = self._angles()
        self._session.spin_until(self._stop.is_set, REST)
        return bool(np.abs(self._angles() - before).max() <= AT_REST)

    def _take(self) -> str:
        """Takes a picture of the arm, which rests, where the pose is a new one. Returns in words how it stands."""
        album, q = self._album, self._angles()
        if not album.is_new(q):
            return (
                f"{album.count}: this pose is taken; turn the hand by 15° and more, about another axis than last time"
            )
        rested = nanoseconds(self._joints.message.header.stamp) - round(REST * SECOND)
        if not self._session.spin_until(lambda: self._stop.is_set() or self._shows(rested), FOUND_WITHIN):
            raise CalibrationError(f"nothing new on {self._images.topic} within {FOUND_WITHIN:g} s")
        if self._stop.is_set():
            return f"{album.count}: interrupted"
        corners = album.take(JpegImage(bytes(self._images.message.data)).decode(), q)
        return f"{album.count}: {f'taken, with {corners} corners' if corners else NOT_SEEN}"

    def _shows(self, since: int) -> bool:
        """Whether there is a picture that was taken after a time, ns."""
        image = self._images.message
        return image is not None and nanoseconds(image.header.stamp) > since

    def _angles(self) -> NDArray[np.float64]:
        """Of the joints, rad [7]. Raises CalibrationError where none come any more."""
        if (message := self._joints.message) is None:
            raise CalibrationError(f"nothing on {self._joints.topic} any more")
        angles = dict(zip(message.name, message.position, strict=True))
        return np.array([angles[name] for name in self._cell.arm.joint_names])
