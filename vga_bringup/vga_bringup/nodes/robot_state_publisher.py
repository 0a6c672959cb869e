"""Where the robot's links are, for tf: takes the place of robot_state_publisher where ROS does not come from apt.

The same parameters and topics, and the same rule of when to publish: every message on joint_states (sensor_msgs/
JointState) whose stamp is `1 / publish_frequency` s or more after that of the last one used, in whole milliseconds.

Publishes robot_description (std_msgs/String) and tf_static (tf2_msgs/TFMessage) once, for whoever comes later too, and
tf (tf2_msgs/TFMessage), stamped as the joints were measured. A joint that no message names moves nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rcl_interfaces.msg import FloatingPointRange
from sensor_msgs.msg import JointState
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage
from vga_policy.ros import topics
from vga_policy.ros.node import BaseNode, run_node
from vga_policy.ros.parameters import NodeParameter
from vga_policy.units import nanoseconds

from vga_bringup.description.frames import DescriptionError, FramePose, RobotFrames

MILLISECOND = 1_000_000  # ns
TF_DEPTH = 100  # as tf2's broadcaster has it


class RobotStatePublisher(BaseNode):
    """Publishes a robot's frames."""

    robot_description = NodeParameter("", "the robot as URDF")
    publish_frequency = NodeParameter(
        20.0, "tf a second, at most", floating_point_range=[FloatingPointRange(from_value=0.1, to_value=1000.0)]
    )

    def __init__(self) -> None:
        super().__init__(topics.ROBOT_STATE_PUBLISHER)

    def configure(self) -> None:
        """Raises DescriptionError when the robot description is none."""
        self._frames = RobotFrames(self.robot_description)
        self._interval = int(1000.0 / self.publish_frequency) * MILLISECOND
        self._last = 0
        self._description = self.create_publisher(String, topics.ROBOT_DESCRIPTION, topics.LATCHED)
        self._static = self.create_publisher(TFMessage, topics.TF_STATIC, topics.LATCHED)
        self._tf = self.create_publisher(TFMessage, topics.TF, TF_DEPTH)

    def activate(self) -> None:
        """Publishes what stays, and from now on what moves."""
        self._description.publish(String(data=self.robot_description))
        self._static.publish(tf_message(self._frames.fixed, self.get_clock().now().to_msg()))
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, topics.SENSOR_DATA)

    def _on_joints(self, state: JointState) -> None:
        stamp = nanoseconds(state.header.stamp)
        if 0 <= stamp - self._last < self._interval or len(state.name) != len(state.position):
            return
        self._last = stamp
        moved = self._frames.moving(dict(zip(state.name, state.position, strict=True)))
        self._tf.publish(tf_message(moved, state.header.stamp))


def tf_message(poses: Iterable[FramePose], stamp: Time) -> TFMessage:
    """These poses as tf wants them."""
    return TFMessage(transforms=[_transform(pose, stamp) for pose in poses])


def _transform(pose: FramePose, stamp: Time) -> TransformStamped:
    (x, y, z), (qx, qy, qz, qw) = pose.position.tolist(), pose.quaternion.tolist()
    return TransformStamped(
        header=Header(stamp=stamp, frame_id=pose.parent),
        child_frame_id=pose.child,
        transform=Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw)),
    )


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM. Returns 2 when it was given no robot, else 0."""
    return run_node("robot_state_publisher", RobotStatePublisher, args, refusals=(DescriptionError,))


if __name__ == "__main__":
    sys.exit(main())
