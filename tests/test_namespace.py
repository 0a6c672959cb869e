"""A robot in a namespace: its driver, a camera and its recorder, as the graph starts them, seen from outside."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest
from sensor_msgs.msg import CompressedImage, JointState
from support import software_d415
from support.cells import cell_at
from support.owned import own_address
from support.simulated_arm import SimulatedArm
from vga_bringup.graph.runner import command
from vga_bringup.graph.spec import lab_graph
from vga_policy.bags.reader import Bag
from vga_policy.cell.loading import dump_cell
from vga_policy.cell.schema import Cell
from vga_policy.episodes.topics import JOINT_STATES, REFERENCE, ROBOT_DESCRIPTION, TF, TF_STATIC, image_topic
from vga_policy.ros import topics
from vga_policy.ros.client.session import Session

from vga_msgs.msg import DriverState
from vga_msgs.srv import SetMode, StartEpisode, StopEpisode

ADDRESS, NAMESPACE, CAMERA, SERIAL = own_address(), "left", "wrist", "077"
WIDTH, HEIGHT, FPS = 320, 240, 15
OF_EVERYBODY = {"/rosout", "/parameter_events", topics.DIAGNOSTICS}
ACTION = "_action/"  # what an action's topics and services are below


@pytest.fixture
def cell(tmp_path):
    """Path of the simulated cell with one camera."""
    data = cell_at(ADDRESS).model_dump()
    color = {"width": WIDTH, "height": HEIGHT, "fps": FPS}
    data["cameras"] = [data["cameras"][0] | {"name": CAMERA, "serial": SERIAL, "slot": 0, "color": color}]
    path = tmp_path / "cell.yaml"
    path.write_text(dump_cell(Cell.model_validate(data)))
    return path


@pytest.fixture
def robot(cell, tmp_path, ros_domain):
    """The nodes of the robot PC in the namespace; the camera shows a minute of pictures."""
    graph = lab_graph(cell=str(cell), record=True, episodes=str(tmp_path), namespace=NAMESPACE)
    camera = {"serial": SERIAL, "width": WIDTH, "height": HEIGHT, "fps": FPS}
    python = {
        "camera_node": [software_d415.__file__, json.dumps(camera)],
        "franka_driver_node": ["-m", "vga_bringup.nodes.franka_driver_node"],
        "robot_state_publisher": ["-m", "vga_bringup.nodes.robot_state_publisher"],
        "recorder_node": ["-c", "from vga_teleop.nodes.recorder_node import main; main()"],
    }
    with SimulatedArm(ADDRESS), ExitStack() as stack:
        for spec in graph:
            arguments = command(spec)
            arguments = arguments[arguments.index("--ros-args") :]
            process = subprocess.Popen(
                [sys.executable, *python[spec.executable], *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=os.environ | dict(spec.environment),
            )  # fmt: skip
            stack.callback(end, process)
            if spec.executable == "camera_node":
                process.stdin.write(f"plug\npush {60 * FPS}\n")
                process.stdin.flush()
        yield stack.enter_context(Session("observer", NAMESPACE))


def end(process):
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10.0)
    finally:
        process.kill()
        process.communicate()


def test_all_of_a_robot_is_below_its_namespace_and_recorded_as_of_the_root(robot):
    node, heard = robot.node, {}
    image = topics.camera(CAMERA).compressed
    for kind, topic, qos in (
        (JointState, topics.JOINT_STATES, 10),
        (DriverState, topics.DRIVER_STATE, topics.LATCHED),
        (CompressedImage, image, topics.SENSOR_DATA),
    ):
        node.create_subscription(kind, topic, lambda message, topic=topic: heard.update({topic: message}), qos)
    expected = {topics.JOINT_STATES, topics.DRIVER_STATE, image}
    assert robot.spin_until(lambda: set(heard) == expected and heard[topics.DRIVER_STATE].connected, 30.0), set(heard)

    set_mode = node.create_client(SetMode, topics.DRIVER_SET_MODE)
    assert robot.call(set_mode, SetMode.Request(mode=SetMode.Request.HOLD)).success
    path = record(robot)

    published = {name for name, _ in node.get_topic_names_and_types()}
    served = {name for name, _ in node.get_service_names_and_types()}
    assert {f"/{NAMESPACE}/{name}" for name in (*expected, topics.DRIVER_REFERENCE, topics.RECORDER_STATE)} <= published
    assert {f"/{NAMESPACE}/{name}" for name in (topics.DRIVER_STOP, topics.RECORDER_START)} <= served
    assert f"/{NAMESPACE}/{topics.DRIVER_HOME}/{ACTION}send_goal" in served
    assert {name for name in published | served if not name.startswith(f"/{NAMESPACE}/")} == OF_EVERYBODY
    assert {namespace for _, namespace in node.get_node_names_and_namespaces()} == {
        f"/{NAMESPACE}", f"/{NAMESPACE}/{topics.CAMERAS}",
    }  # fmt: skip

    with Bag(path) as bag:
        assert min(bag.count(name) for name in (JOINT_STATES, REFERENCE, image_topic(CAMERA))) > 5
        assert not [name for name in bag.topics if name.startswith(f"/{NAMESPACE}")]
        assert (bag.count(ROBOT_DESCRIPTION), bag.count(TF_STATIC)) == (1, 1)  # latched: said long before the episode
        assert f'"{NAMESPACE}/{CAMERA}_color_optical_frame"' in bag.message(ROBOT_DESCRIPTION, 0).data
        placed = [*bag.message(TF_STATIC, 0).transforms, *bag.message(TF, 0).transforms]
        frames = {each.child_frame_id for each in placed}
        assert f"{NAMESPACE}/fr3_link7" in frames
        assert bag.message(image_topic(CAMERA), 0).header.frame_id in frames
        assert bag.message(JOINT_STATES, 0).header.frame_id in {each.header.frame_id for each in placed}
        assert bag.count(TF) > 5


def record(robot):
    """Path of an episode of a second."""
    start, stop = (
        robot.node.create_client(kind, name)
        for kind, name in ((StartEpisode, topics.RECORDER_START), (StopEpisode, topics.RECORDER_STOP))
    )
    answers = []

    def recording():
        answers.append(robot.call(start, StartEpisode.Request(task="hold")))
        return answers[-1].success

    assert robot.spin_until(recording, 15.0), answers[-1].message
    robot.spin_until(lambda: False, 1.0)
    stopped = robot.call(stop, StopEpisode.Request(outcome=StopEpisode.Request.DISCARDED))
    assert stopped.success, stopped.message
    return answers[-1].path
