"""The robot in 3D: its links as tf says where they are, or as its joints say."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vga_policy.units import nanoseconds

from vga_bringup.description.tree import LinkTree
from vga_bringup.robot.bounds.kinematics import Pose
from vga_bringup.view.shapes import link_shapes
from vga_bringup.view.sheet import Sheet

Array = NDArray[np.float64]
TOOL = "_hand_tcp"  # how the frame between the fingertips ends
FINGER = "finger"  # what the joint of the hand has in its name: half the opening
POSTURES = 400  # kept: where the arm was when a policy looked, some seconds ago
TF_APART = 30_000_000  # ns between two postures that are drawn, where there is no tf
LATE = 200_000_000  # ns between a moment and the next posture, beyond which it is not known where the arm was


class DrawnRobot:
    """A robot that is drawn.

    tool: the frame whose way a chunk is drawn as.
    """

    def __init__(self, sheet: Sheet, urdf: str, *, with_tf: bool, apart_ns: int = 0) -> None:
        """with_tf: tf will come; without, frames are computed from the joints.

        apart_ns: a frame of tf that follows itself by less is left out. Raises DescriptionError when the description
        is none.
        """
        self._sheet, self._with_tf, self._apart_ns = sheet, with_tf, apart_ns
        self.tree = LinkTree(urdf)
        self._parents = {child: joint.parent for child, joint in self.tree.joints.items()}
        self.tool = next((name for name in self._parents if name.endswith(TOOL)), self.tree.root)
        self._places: dict[str, str] = {}
        self._drawn = -TF_APART
        self._moved: dict[str, int] = {}  # when each frame of tf was drawn last
        self._stamps: list[int] = []
        self._postures: list[dict[str, float]] = []
        self._draw(urdf)

    def place(self, frame: str) -> str:
        """The entity of a frame, below those that it hangs on."""
        if frame in self._places:
            return self._places[frame]
        chain = [frame]
        while (parent := self._parents.get(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        self._places[frame] = "/".join(["robot", *(name.replace("/", "_") for name in reversed(chain))])
        return self._places[frame]

    def knows(self, frame: str) -> bool:
        """Whether it is known where this frame is."""
        return frame in self._parents or frame == self.tree.root

    def hang(self, frame: str, parent: str) -> None:
        """A frame that is on no link by the description hangs on this one."""
        if frame not in self._parents:
            self._parents[frame] = parent
            self._places.clear()

    def pose(self, frame: str, stamp: int) -> Pose | None:
        """Where a frame of the description was in the base at `stamp` (ns); None where that is not known."""
        if frame not in self.tree.joints or (posture := self._posture(stamp)) is None:
            return None
        return self.tree.pose(frame, {name: np.asarray(position) for name, position in posture.items()})

    def proprioception(self, stamp: int) -> Array | None:
        """What a policy is told of the robot at `stamp` (ns): joints (rad), and the opening of the hand (m)."""
        if (posture := self._posture(stamp)) is None:
            return None
        arm = [position for name, position in posture.items() if FINGER not in name]
        return np.array([*arm, 2.0 * sum(position for name, position in posture.items() if FINGER in name)])

    def way(self, names: Sequence[str], positions: Array) -> Array:
        """The way of the tool [H, 3] (m) through positions [H, J] (rad) of these joints."""
        return self.tree.pose(self.tool, dict(zip(names, positions.T, strict=True))).position

    def take_tf(self, message: Any) -> None:
        """Frames that move."""
        for each in message.transforms:
            stamp, last = nanoseconds(each.header.stamp), self._moved.get(each.child_frame_id)
            if last is not None and 0 <= stamp - last < self._apart_ns:
                continue
            self._moved[each.child_frame_id] = stamp
            place, turn = each.transform.translation, each.transform.rotation
            self.hang(each.child_frame_id, each.header.frame_id)
            self._sheet.row(
                stamp,
                self.place(each.child_frame_id),
                "Transform3D",
                translation=(place.x, place.y, place.z),
                quaternion=(turn.x, turn.y, turn.z, turn.w),
            )

    def take_fixed_tf(self, message: Any) -> None:
        """Frames that do not; those of the description are drawn already."""
        for each in message.transforms:
            if not self.knows(each.child_frame_id):
                place, turn = each.transform.translation, each.transform.rotation
                self.hang(each.child_frame_id, each.header.frame_id)
                fixed = self._sheet.rerun.Transform3D(
                    translation=(place.x, place.y, place.z), quaternion=(turn.x, turn.y, turn.z, turn.w)
                )
                self._sheet.still(self.place(each.child_frame_id), fixed)

    @property
    def joints(self) -> list[str]:
        """Names of the joints that move others, from the base on."""
        return list(dict.fromkeys(joint.mover for joint in self.tree.joints.values() if joint.mover))

    def take_posture(self, stamp: int, posture: dict[str, float]) -> None:
        """Measured positions (rad, m) by joint, at `stamp` (ns)."""
        self._stamps.append(stamp)
        self._postures.append(posture)
        if len(self._stamps) > 2 * POSTURES:
            del self._stamps[:POSTURES], self._postures[:POSTURES]
        if self._with_tf or 0 <= stamp - self._drawn < TF_APART:
            return
        self._drawn = stamp
        positions = {name: np.asarray(position) for name, position in posture.items()}
        for name, joint in self.tree.joints.items():
            if joint.mover in posture:
                turn, place = joint.pose(positions)
                self._sheet.row(stamp, self.place(name), "Transform3D", translation=place, mat3x3=turn)

    def _posture(self, stamp: int) -> dict[str, float] | None:
        """Between the postures before and after; the first or last, where there is but one and it is not long ago."""
        after = bisect_left(self._stamps, stamp)
        pair = range(max(after - 1, 0), min(after + 1, len(self._stamps)))
        if not pair or min(abs(self._stamps[index] - stamp) for index in pair) > LATE:
            return None
        first, last = pair[0], pair[-1]
        span = max(self._stamps[last] - self._stamps[first], 1)
        share = min(max((stamp - self._stamps[first]) / span, 0.0), 1.0)
        former, latter = self._postures[first], self._postures[last]
        return {name: (1 - share) * former.get(name, value) + share * value for name, value in latter.items()}

    def _draw(self, urdf: str) -> None:
        rerun = self._sheet.rerun
        self._sheet.still("robot", rerun.ViewCoordinates.RIGHT_HAND_Z_UP)
        for name, joint in self.tree.joints.items():
            if not joint.mover:
                placed = rerun.Transform3D(translation=joint.origin.position, mat3x3=joint.origin.rotation)
                self._sheet.still(self.place(name), placed)
        for number, (name, shape) in enumerate(link_shapes(rerun, urdf)):
            self._sheet.still(f"{self.place(name)}/shape_{number}", shape)
