"""Where a camera was in the arm's base frame, by the tf of a bag."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vga_policy.bags.reader import Bag
from vga_policy.episodes.topics import TF, TF_STATIC
from vga_policy.units import nanoseconds

TF_MESSAGE = "tf2_msgs/msg/TFMessage"
LONGEST = 100_000_000  # ns between two transforms that are still interpolated


class _Joint(NamedTuple):
    """A child frame in its parent. stamps [N], ns; positions [N, 3], m; quaternions [N, 4], xyzw. One is fixed."""

    parent: str
    stamps: NDArray[np.int64]
    positions: NDArray[np.float64]
    quaternions: NDArray[np.float64]

    def at(self, stamps: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Its poses [M, 4, 4] at these times, and whether they are known [M]."""
        if len(self.stamps) == 1:
            pose = _matrices(self.positions, self.quaternions)
            return np.repeat(pose, len(stamps), axis=0), np.ones(len(stamps), bool)
        after = np.searchsorted(self.stamps, stamps).clip(1, len(self.stamps) - 1)
        before = after - 1
        gap = self.stamps[after] - self.stamps[before]
        share = (stamps - self.stamps[before])[:, None] / np.maximum(gap, 1)[:, None]
        known = (share[:, 0] >= 0) & (share[:, 0] <= 1) & (gap <= LONGEST)
        one, other = self.quaternions[before], self.quaternions[after]
        other = other * np.where((one * other).sum(axis=1, keepdims=True) < 0, -1, 1)
        # Between two that are so near each other the chord is as good as the arc.
        return _matrices(
            self.positions[before] * (1 - share) + self.positions[after] * share, one * (1 - share) + other * share
        ), known


class RecordedFrames:
    """The frames of a bag."""

    def __init__(self, bag: Bag) -> None:
        self._joints: dict[str, _Joint] = {}
        for topic in (TF_STATIC, TF):
            if bag.count(topic):
                bag.require(topic, TF_MESSAGE, "transforms")
                self._read(bag, topic)

    def poses(self, frame: str, base: str, stamps: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Poses [N, 4, 4] of a frame in another at these times, ns, and whether they are known [N]."""
        poses, known = np.repeat(np.eye(4)[None], len(stamps), axis=0), np.ones(len(stamps), bool)
        while frame != base:
            if frame not in self._joints:
                return poses, np.zeros(len(stamps), bool)
            inner, sure = self._joints[frame].at(stamps)
            poses, known, frame = inner @ poses, known & sure, self._joints[frame].parent
        return poses, known

    def _read(self, bag: Bag, topic: str) -> None:
        rows: dict[str, list[tuple[int, list[float], list[float]]]] = {}
        parents: dict[str, str] = {}
        for message in bag.messages(topic):
            for each in message.transforms:
                place, turn = each.transform.translation, each.transform.rotation
                stamp = nanoseconds(each.header.stamp)
                rows.setdefault(each.child_frame_id, []).append(
                    (stamp, [place.x, place.y, place.z], [turn.x, turn.y, turn.z, turn.w])
                )
                parents[each.child_frame_id] = each.header.frame_id
        for child, found in rows.items():
            last = found[-1:] if topic == TF_STATIC else sorted(found, key=lambda row: row[0])
            stamps, positions, quaternions = zip(*last, strict=True)
            self._joints[child] = _Joint(
                parents[child], np.array(stamps, np.int64), np.array(positions), np.array(quaternions)
            )


def _matrices(positions: NDArray[np.float64], quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses [N, 4, 4] of positions [N, 3] and quaternions [N, 4] of about unit length."""
    x, y, z, w = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    poses = np.zeros((len(positions), 4, 4))
    poses[:, 0, :3] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=1)
    poses[:, 1, :3] = np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=1)
    poses[:, 2, :3] = np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=1)
    poses[:, :3, 3], poses[:, 3, 3] = positions, 1.0
    return poses
