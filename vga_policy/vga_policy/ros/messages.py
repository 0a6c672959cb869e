"""Conversions between the policy's plain arrays and ROS messages."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time as TimeMsg
from cv_bridge import CvBridge, CvBridgeError
from numpy.typing import NDArray
from rclpy.duration import Duration
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectoryPoint
from unique_identifier_msgs.msg import UUID

from vga_msgs.msg import ActionChunk as ActionChunkMsg
from vga_policy.cell.schema import Cell
from vga_policy.observation.observation import ActionChunk, Observation
from vga_policy.units import SECOND, sec_and_nanosec


class RawImage:
    """An uncompressed image in any encoding that cv_bridge can turn into RGB."""

    _bridge = CvBridge()

    def __init__(self, message: Image) -> None:
        self._message = message

    def decode(self) -> NDArray[np.uint8]:
        """RGB pixels [H, W, 3]. Raises ValueError when they cannot be had from this message."""
        try:
            return np.ascontiguousarray(self._bridge.imgmsg_to_cv2(self._message, "rgb8"))
        except (CvBridgeError, TypeError) as error:
            raise ValueError(str(error)) from None


def time_message(stamp_ns: int) -> TimeMsg:
    """The stamp of a time in ns."""
    seconds, rest = sec_and_nanosec(stamp_ns)
    return TimeMsg(sec=seconds, nanosec=rest)


def uuid_message(goal_id: bytes | None) -> UUID:
    """A goal's id; None or empty bytes give the all-zero id that means no goal."""
    return UUID(uuid=np.frombuffer(goal_id, np.uint8)) if goal_id else UUID()


def chunk_message(
    cell: Cell, goal_id: bytes, observation: Observation, chunk: ActionChunk, start_ns: int, end_ns: int
) -> ActionChunkMsg:
    """A chunk as published, less its sequence number; `start_ns` and `end_ns` are when inference began and ended."""
    message = ActionChunkMsg(
        goal_id=uuid_message(goal_id),
        gripper_width=chunk.gripper_width.tolist(),
        cameras=[camera.name for camera in cell.views],
        image_stamps=[time_message(stamp) for stamp in observation.image_stamps_ns],
        inference_start=time_message(start_ns),
        inference_end=time_message(end_ns),
    )
    message.header.stamp = time_message(observation.stamp_ns)
    message.header.frame_id = cell.arm.base_frame
    message.trajectory.header = message.header
    message.trajectory.joint_names = list(cell.arm.joint_names)
    message.trajectory.points = [
        JointTrajectoryPoint(
            positions=joints.tolist(),
            time_from_start=Duration(nanoseconds=round((k + 1) * cell.dt * SECOND)).to_msg(),
        )
        for k, joints in enumerate(chunk.joints)
    ]
    return message
