"""What of a bag is looked at, as arrays: frames, joints, hand, chunks, and what happened, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from vga_policy.bags.reader import Bag, BagError
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import parse_cell
from vga_policy.cell.schema import Camera, Cell
from vga_policy.episodes import topics
from vga_policy.message_constants import MODE_NAMES
from vga_policy.units import nanoseconds

from vga_bringup.description.frames import FramePose, RobotFrames, tf_every
from vga_bringup.description.urdf import robot_description
from vga_bringup.robot.bounds.kinematics import Kinematics

Array = NDArray[np.float64]
Stamps = NDArray[np.int64]


class Motion(NamedTuple):
    """Frame `child` in `parent` over time: stamps [N] (ns), positions [N, 3] (m), quaternions [N, 4] (x, y, z, w)."""

    parent: str
    child: str
    stamps: Stamps
    positions: Array
    quaternions: Array


class PlottedCurve(NamedTuple):
    """A quantity over time: stamps [N] (ns) and values [N]."""

    name: str
    stamps: Stamps
    values: Array


class ChunkWay(NamedTuple):
    """What a policy meant to do: its stamp (ns), the way of the tool center point [H, 3] (m), why it was refused.

    refusal: in words; empty where it was accepted, None where no verdict was recorded.
    """

    stamp: int
    way: Array
    refusal: str | None


class Happening(NamedTuple):
    """What happened: stamp (ns), level (INFO, WARN, ERROR) and words."""

    stamp: int
    level: str
    words: str


class Recorded:
    """One bag, open for reading; close it.

    path: of its directory. cell: that it was recorded with. urdf: the robot's, or for a bag without one the cell's.
    """

    def __init__(self, path: Path) -> None:
        """Raises BagError when it is no bag of a cell."""
        self.path = path
        self.bag = Bag(path)
        try:
            self.cell: Cell = parse_cell(self.bag.metadata["cell"], str(path))
        except KeyError:
            raise BagError(f"{path}: recorded by another program: it does not say of which cell") from None
        except CellError as error:
            raise BagError(str(error).splitlines()[0]) from None
        texts = [message.data for message in self._messages(topics.ROBOT_DESCRIPTION)]
        self.urdf = texts[-1] if texts else robot_description(self.cell)

    def close(self) -> None:
        """Lets go of the file."""
        self.bag.close()

    @cached_property
    def fixed(self) -> list[FramePose]:
        """Frames that do not move. Raises DescriptionError where an old bag's cannot be computed."""
        if self.bag.count(topics.TF_STATIC):
            return [_pose(each) for message in self._messages(topics.TF_STATIC) for each in message.transforms]
        return self._frames.fixed

    @cached_property
    def moving(self) -> list[Motion]:
        """Frames that move: as recorded, else computed from the joints. Raises DescriptionError as `fixed`."""
        samples = self._recorded_tf() if self.bag.count(topics.TF) else self._computed_tf()
        rows: dict[tuple[str, str], list[tuple[int, Array, Array]]] = {}
        for stamp, pose in samples:
            rows.setdefault((pose.parent, pose.child), []).append((stamp, pose.position, pose.quaternion))
        return [
            Motion(parent, child, *(np.array(column) for column in zip(*each, strict=True)))
            for (parent, child), each in rows.items()
        ]

    @cached_property
    def cameras(self) -> list[Camera]:
        """The cell's cameras that have images here."""
        return [camera for camera in self.cell.cameras if self.bag.count(topics.image_topic(camera.name))]

    def camera_motion(self, camera: Camera) -> Motion | None:
        """The camera's optical frame in the arm's base, of a simulated bag that has the true one."""
        topic = topics.camera_topics(camera.name).pose
        if not self.bag.count(topic):
            return None
        poses = [message.pose for message in self._messages(topic)]
        positions = np.array([[pose.position.x, pose.position.y, pose.position.z] for pose in poses])
        turns = np.array([[getattr(pose.orientation, axis) for axis in "xyzw"] for pose in poses])
        return Motion(self.cell.arm.base_frame, camera.optical_frame, self.bag.stamps(topic), positions, turns)

    def images(self, camera: Camera) -> tuple[Stamps, list[bytes]]:
        """Stamps (ns) and JPEG files of a camera."""
        topic = topics.image_topic(camera.name)
        return self.bag.stamps(topic), [bytes(message.data) for message in self._messages(topic)]

    def camera_matrix(self, camera: Camera) -> tuple[Array, int, int] | None:
        """Matrix K [3, 3] (px), width and height; None where they were not recorded."""
        message = next(self._messages(topics.camera_topics(camera.name).info), None)
        return None if message is None else (np.array(message.k).reshape(3, 3), message.width, message.height)

    @cached_property
    def curves(self) -> list[PlottedCurve]:
        """Joints (rad) as measured and as told, and the hand's opening (m): `joints/NAME/measured` and so on."""
        return [*self._joints(topics.JOINT_STATES, "measured"), *self._reference(), *self._hand()]

    @cached_property
    def chunks(self) -> list[ChunkWay]:
        """Every chunk of the policy."""
        refusals = {
            (bytes(verdict.goal_id.uuid), verdict.sequence): ""
            if verdict.accepted
            else verdict.message or verdict.reason
            for verdict in self._messages(topics.CHUNK_VERDICT)
        }
        kinematics = Kinematics(self.cell.arm)
        return [
            ChunkWay(
                nanoseconds(message.header.stamp),
                kinematics.tcp(np.array([point.positions for point in message.trajectory.points])).position,
                refusals.get((bytes(message.goal_id.uuid), message.sequence)),
            )
            for message in self._messages(topics.ACTION_CHUNK)
            if len(message.trajectory.points)
        ]

    @cached_property
    def events(self) -> list[Happening]:
        """Modes, refusals and what the hand took hold of, in the order of their times."""
        return sorted([*self._modes(), *self._refusals(), *self._grasps()])

    @cached_property
    def _frames(self) -> RobotFrames:
        return RobotFrames(self.urdf)

    def _messages(self, topic: str) -> Iterator[Any]:
        return self.bag.messages(topic) if self.bag.count(topic) else iter(())

    def _recorded_tf(self) -> Iterator[tuple[int, FramePose]]:
        for message in self._messages(topics.TF):
            for each in message.transforms:
                yield nanoseconds(each.header.stamp), _pose(each)

    def _computed_tf(self) -> Iterator[tuple[int, FramePose]]:
        every = tf_every(self.cell.arm.tracking.rate_hz)
        for number, message in enumerate(self._messages(topics.JOINT_STATES)):
            if number % every == 0:
                positions = dict(zip(message.name, message.position.tolist(), strict=False))
                for pose in self._frames.moving(positions):
                    yield nanoseconds(message.header.stamp), pose

    def _joints(self, topic: str, kind: str) -> Iterator[PlottedCurve]:
        samples: dict[str, list[tuple[int, float]]] = {}
        for message in self._messages(topic):
            stamp = nanoseconds(message.header.stamp)
            for name, position in zip(message.name, message.position.tolist(), strict=False):
                samples.setdefault(name, []).append((stamp, position))
        return (_curve(f"joints/{name}/{kind}", samples[name]) for name in self.cell.arm.joint_names if name in samples)

    def _reference(self) -> Iterator[PlottedCurve]:
        if self.bag.count(topics.REFERENCE):
            messages = list(self._messages(topics.REFERENCE))
            stamps = [nanoseconds(message.header.stamp) for message in messages]
            for i, name in enumerate(self.cell.arm.joint_names):
                told = (float(message.position[i]) for message in messages)
                yield _curve(f"joints/{name}/reference", zip(stamps, told, strict=True))

    def _hand(self) -> Iterator[PlottedCurve]:
        if self.bag.count(topics.GRIPPER_STATE):
            messages = list(self._messages(topics.GRIPPER_STATE))
            stamps = [nanoseconds(message.header.stamp) for message in messages]
            for name, field in (("measured", "width"), ("commanded", "commanded_width")):
                widths = (float(getattr(message, field)) for message in messages)
                yield _curve(f"hand/{name}", zip(stamps, widths, strict=True))

    def _modes(self) -> Iterator[Happening]:
        last = ""
        for state in self._messages(topics.DRIVER_STATE):
            words = MODE_NAMES.get(state.mode, str(state.mode)) + (
                f": {state.hold_reason}" if state.hold_reason else ""
            )
            if words != last:
                yield Happening(nanoseconds(state.header.stamp), "ERROR" if state.needs_recovery else "INFO", words)
            last = words

    def _refusals(self) -> Iterator[Happening]:
        for verdict in self._messages(topics.CHUNK_VERDICT):
            if not verdict.accepted:
                words = f"chunk {verdict.sequence} refused, {verdict.reason}: {verdict.message}"
                yield Happening(nanoseconds(verdict.header.stamp), "WARN", words)

    def _grasps(self) -> Iterator[Happening]:
        last = False
        for state in self._messages(topics.GRIPPER_STATE):
            if bool(state.is_grasped) != last:
                last = bool(state.is_grasped)
                words = f"the hand {'holds something' if last else 'has let go'}, {1e3 * state.width:.0f} mm open"
                yield Happening(nanoseconds(state.header.stamp), "INFO", words)


def _pose(transform: Any) -> FramePose:
    place, turn = transform.transform.translation, transform.transform.rotation
    return FramePose(
        transform.header.frame_id,
        transform.child_frame_id,
        np.array((place.x, place.y, place.z)),
        np.array((turn.x, turn.y, turn.z, turn.w)),
    )


def _curve(name: str, samples: Iterable[tuple[int, float]]) -> PlottedCurve:
    stamps, values = zip(*samples, strict=True)
    return PlottedCurve(name, np.array(stamps, np.int64), np.array(values, float))
