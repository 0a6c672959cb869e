"""The node that publishes tf where apt's does not, as the graph starts it, seen from outside."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Header, String
from support.waiting import SECONDS
from tf2_msgs.msg import TFMessage
from vga_bringup.graph.runner import command
from vga_bringup.graph.spec import lab_graph
from vga_policy.cell.loading import load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.ros import topics
from vga_policy.ros.client.session import Session
from vga_policy.ros.messages import time_message
from vga_policy.units import nanoseconds

CELL = load_cell(cell_path("sim"))
MILLISECOND = 1_000_000  # ns
START = 1_000 * 10**9  # ns, of the stamps


@pytest.fixture
def observer(ros_domain):
    """A robot's own namespace with the node in it, and somebody who looks on."""
    (spec,) = (node for node in lab_graph(cell="sim", namespace="left") if node.name == topics.ROBOT_STATE_PUBLISHER)
    arguments = command(spec)
    arguments = arguments[arguments.index("--ros-args") :]
    module = ["-m", "vga_bringup.nodes.robot_state_publisher"]
    process = subprocess.Popen([sys.executable, *module, *arguments], env=os.environ | dict(spec.environment))
    try:
        with Session("observer", "left") as session:
            yield session
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == 0


def heard(session, kind, name, qos):
    """A list that messages of a topic are put into."""
    messages = []
    session.node.create_subscription(kind, name, messages.append, qos)
    return messages


def test_a_robot_s_frames_are_in_its_namespace(observer):
    description = heard(observer, String, topics.ROBOT_DESCRIPTION, topics.LATCHED)
    static = heard(observer, TFMessage, topics.TF_STATIC, topics.LATCHED)
    moving = heard(observer, TFMessage, topics.TF, QoSProfile(depth=1000))
    assert observer.spin_until(lambda: bool(description and static), SECONDS)
    assert "left/fr3_link7" in description[0].data
    assert {each.child_frame_id for each in static[0].transforms} >= {
        "left/fr3_hand",
        *(f"left/{camera.optical_frame}" for camera in CELL.cameras),
    }

    joints = observer.node.create_publisher(JointState, topics.JOINT_STATES, 100)

    def publish(stamp):
        header = Header(stamp=time_message(stamp))
        joints.publish(JointState(header=header, name=CELL.joint_state_names, position=[*CELL.arm.home, 0.02]))

    def stamps_heard():
        return [nanoseconds(each.transforms[0].header.stamp) for each in moving]

    earlier = iter(range(0, START, START // 300))  # until both sides know of one another, what is said is lost
    while not moving:
        publish(next(earlier))
        observer.spin_until(lambda: bool(moving), 0.1)
    stamps = [START + 10 * MILLISECOND * i for i in range(10)]  # as the driver's, 100 a second
    for i, stamp in enumerate(stamps):
        publish(stamp)
        assert observer.spin_until(lambda due=stamps[i - i % 3]: due in stamps_heard(), SECONDS)
    assert [stamp for stamp in stamps_heard() if stamp >= START] == stamps[::3]  # every 30 ms: 33 a second

    placed = {each.child_frame_id: each.transform for each in moving[0].transforms}
    assert set(placed) == {
        *(f"left/fr3_link{i}" for i in range(1, 8)),
        "left/fr3_leftfinger",
        "left/fr3_rightfinger",
    }
    turn = placed["left/fr3_link1"].rotation
    half = CELL.arm.home[0] / 2
    np.testing.assert_allclose((turn.z, turn.w), (np.sin(half), np.cos(half)), atol=1e-9)
    assert placed["left/fr3_leftfinger"].translation.y == pytest.approx(0.02)


def test_without_a_robot_it_refuses_in_a_line():
    command = [sys.executable, "-m", "vga_bringup.nodes.robot_state_publisher", "--ros-args"]
    ended = subprocess.run([*command, "-p", "robot_description:=none"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("robot_state_publisher: robot_description is no URDF")
