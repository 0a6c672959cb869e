"""`vga view` beside a running robot, in a namespace of its own."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from rerun.chunk import RrdReader
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Header
from support.waiting import SECONDS
from vga_bringup.graph.runner import command
from vga_bringup.graph.spec import lab_graph
from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_policy.cell.loading import load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.observation.observation import ActionChunk, Observation
from vga_policy.ros import topics
from vga_policy.ros.client.session import Session
from vga_policy.ros.messages import chunk_message, time_message

from vga_msgs.msg import ActionChunk as ActionChunkMsg
from vga_msgs.msg import ChunkVerdict, DriverState

CELL = load_cell(cell_path("sim"))
GOAL = bytes(range(16))
STEP = 50_000_000  # ns between two chunks


@pytest.fixture
def started():
    """Processes that end with the test, however that ends."""
    processes = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def robot(ros_domain):
    """A robot's frames, and a session that plays the rest of it."""
    (spec,) = (node for node in lab_graph(cell="sim", namespace="left") if node.name == topics.ROBOT_STATE_PUBLISHER)
    arguments = command(spec)
    module = ["-m", "vga_bringup.nodes.robot_state_publisher", *arguments[arguments.index("--ros-args") :]]
    process = subprocess.Popen([sys.executable, *module], env=os.environ | dict(spec.environment))
    try:
        with Session("robot", "left") as session:
            assert session.spin_until(lambda: session.node.count_publishers(topics.ROBOT_DESCRIPTION) > 0, SECONDS)
            yield session
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == 0


def chunk(stamp, joints, sequence):
    seen = Observation(stamp, (), (stamp,) * len(CELL.views), np.zeros(8), "")
    message = chunk_message(CELL, GOAL, seen, ActionChunk(np.hstack([joints, np.zeros((8, 1))])), stamp, stamp + STEP)
    message.sequence = sequence
    return message


def test_what_a_robot_says_is_drawn_until_ctrl_c(robot, started, tmp_path):
    publishers = {
        "joints": robot.node.create_publisher(JointState, topics.JOINT_STATES, 100),
        "state": robot.node.create_publisher(DriverState, topics.DRIVER_STATE, topics.LATCHED),
        "chunk": robot.node.create_publisher(ActionChunkMsg, topics.POLICY_ACTION_CHUNK, 10),
        "verdict": robot.node.create_publisher(ChunkVerdict, topics.DRIVER_CHUNK_VERDICT, 10),
        "image": robot.node.create_publisher(CompressedImage, topics.camera("wrist").compressed, topics.SENSOR_DATA),
    }
    publishers["state"].publish(DriverState(header=Header(stamp=time_message(time.time_ns())), mode=DriverState.POLICY))
    file = tmp_path / "live.rrd"
    arguments = ["-m", "vga_policy", "view", "--namespace", "left", "--save", str(file)]
    view = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    started.append(view)
    seen = {name: 2 if name == "joints" else 1 for name in publishers}  # the frames' publisher hears joints too
    assert robot.spin_until(
        lambda: all(publishers[name].get_subscription_count() >= count for name, count in seen.items()), SECONDS
    )
    late = robot.node.create_publisher(CompressedImage, topics.camera("fixed_1").compressed, topics.SENSOR_DATA)
    assert robot.spin_until(lambda: late.get_subscription_count() > 0, SECONDS)
    late.publish(CompressedImage(header=Header(stamp=time_message(time.time_ns())), data=b"a jpeg file"))
    ways, kinematics = [], Kinematics(CELL.arm)
    for sequence in range(12):
        stamp = time.time_ns()
        joints = CELL.arm.home + 0.02 * np.arange(1, 9)[:, None] + 0.01 * sequence
        ways.append(kinematics.tcp(joints).position)
        header = Header(stamp=time_message(stamp))
        names, position = CELL.joint_state_names, [*CELL.arm.home, 0.02]
        publishers["joints"].publish(JointState(header=header, name=names, position=position))
        publishers["chunk"].publish(chunk(stamp, joints, sequence))
        publishers["verdict"].publish(
            ChunkVerdict(header=header, goal_id=chunk(stamp, joints, 0).goal_id, sequence=sequence, accepted=True)
        )
        robot.spin_until(lambda: False, 0.05)
    robot.spin_until(lambda: False, 1.0)  # what has come is drawn every 0.4 s
    view.send_signal(signal.SIGINT)
    said = view.communicate(timeout=SECONDS)[0]
    assert view.returncode == 0
    assert said == f"drawing the running robot: {file}; Ctrl-C ends it\n"

    drawn = {}
    for part in RrdReader(file).stream():
        batch = part.to_record_batch()
        for name in batch.schema.names:
            drawn.setdefault((part.entity_path, name), []).extend(batch.column(name).to_pylist() if ":" in name else [])
    assert sorted(text for (text,) in drawn["/log", "TextLog:text"]) == ["POLICY", "chunk 0 accepted"]  # as they come
    fans = drawn["/robot/left_fr3_link0/chunks", "LineStrips3D:strips"]
    assert 0 < len(fans) <= len(ways)  # on a busy machine Ctrl-C comes before the last are drawn
    for fan, way in zip(fans, ways, strict=False):
        np.testing.assert_allclose(fan[-1], way, atol=1e-6)
    assert any(entity.endswith("left_fr3_link7") and name == "Transform3D:translation" for entity, name in drawn)
    assert drawn["/joints/fr3_joint2/measured", "Scalars:scalars"][0] == [CELL.arm.home[1]]
    assert any(entity.endswith("fixed_1_color_optical_frame/image") and "blob" in name for entity, name in drawn)
    assert not any(entity.endswith("_frame/image/chunks") for entity, _ in drawn)  # no lens is known
