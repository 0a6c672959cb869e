"""Where the frames of a URDF are, for measured joints: what robot_state_publisher publishes, without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TF_RATE = 30.0  # Hz, at the least


def tf_every(joint_rate_hz: float) -> int:
    """Of so many joint states a second one in how many is published as tf: as few as make TF_RATE."""
    return max(1, int(joint_rate_hz / TF_RATE))


class DescriptionError(ValueError):
    """A robot description that is none, or pinocchio, which reads it, is missing."""


class FramePose(NamedTuple):
    """Frame `child` in frame `parent`: position [3] (m) and unit quaternion [4] (x, y, z, w)."""

    parent: str
    child: str
    position: NDArray[np.float64]
    quaternion: NDArray[np.float64]


class _Segment(NamedTuple):
    """A joint of the URDF: pinocchio's numbers of the frames on both sides, and the joint that its position is of."""

    parent: int
    child: int
    mover: str


class RobotFrames:
    """The frames of a robot, each in that of the link it hangs on.

    fixed: those that never move. joints: names of the joints that move others.
    """

    def __init__(self, urdf: str) -> None:
        """Raises DescriptionError when the text is no robot, and where there is no pinocchio."""
        try:
            import pinocchio
        except ImportError:
            raise DescriptionError("pinocchio is not installed: make setup PURPOSES=sim") from None
        self._pinocchio = pinocchio
        try:
            self._model = pinocchio.buildModelFromXML(urdf, True)
        except (ValueError, RuntimeError) as error:
            raise DescriptionError(f"robot_description is no URDF: {str(error).splitlines()[0][:100]}") from None
        self._data = self._model.createData()
        segments = list(self._segments())
        self._moving = [segment for segment in segments if segment.mover]
        self.joints = tuple(dict.fromkeys(segment.mover for segment in self._moving))
        self._indexes = {name: self._model.joints[self._model.getJointId(name)].idx_q for name in self.joints}
        self._q = pinocchio.neutral(self._model)
        self._place()
        self.fixed = [self._pose(segment) for segment in segments if not segment.mover]

    def moving(self, positions: Mapping[str, float]) -> list[FramePose]:
        """The frames that these joints (rad, m) move, mimics among them; joints not named leave theirs out."""
        known = positions.keys() & self._indexes.keys()
        for name in known:
            self._q[self._indexes[name]] = positions[name]
        self._place()
        return [self._pose(segment) for segment in self._moving if segment.mover in known]

    def _place(self) -> None:
        self._pinocchio.framesForwardKinematics(self._model, self._data, self._q)

    def _pose(self, segment: _Segment) -> FramePose:
        frames, places = self._model.frames, self._data.oMf
        relative = places[segment.parent].actInv(places[segment.child])
        quaternion = self._pinocchio.Quaternion(relative.rotation).coeffs()
        names = frames[segment.parent].name, frames[segment.child].name
        return FramePose(*names, np.array(relative.translation), np.array(quaternion))

    def _segments(self) -> Iterator[_Segment]:
        """Every link but the root, in the link above it. A joint's frame lies between the two."""
        frames, kinds = self._model.frames, self._pinocchio.FrameType
        for number, frame in enumerate(frames):
            joint = frames[frame.parentFrame]
            if frame.type == kinds.BODY and frame.parentFrame and joint.parentFrame < number:
                moves = joint.type == kinds.JOINT
                yield _Segment(joint.parentFrame, number, self._mover(joint.name) if moves else "")

    def _mover(self, joint: str) -> str:
        """The joint whose position moves this one: itself, or the one that it mimics."""
        number = self._model.getJointId(joint)
        mimicking = list(self._model.mimicking_joints)
        if number not in mimicking:
            return joint
        return str(self._model.names[self._model.mimicked_joints[mimicking.index(number)]])
