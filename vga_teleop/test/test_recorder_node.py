"""The recorder node as a process of its own, fed by publishers of ours."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import rclpy
from ament_index_python.packages import get_package_prefix
from mcap.reader import make_reader
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage, JointState
from std_srvs.srv import Trigger
from vga_policy.contract.cell import load_cell
from vga_policy.contract.episode import load_episode

from vga_msgs.msg import DriverState, RecorderState, RobotReference
from vga_msgs.srv import StartEpisode, StopEpisode

DOMAIN = 90
CELL = Path(__file__).parents[2] / "vga_bringup" / "config" / "cells" / "sim.yaml"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RECORDER = Path(get_package_prefix("vga_teleop"), "lib", "vga_teleop", "recorder_node")


def wait(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return result


def future_done_within(future, seconds):
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return done.wait(seconds)


class Robot:
    """Publishes what an episode needs, at 20 Hz from a thread, and calls the recorder."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("robot", context=self.context)
        self.stamps = {}  # topic: header stamps published, ns
        self.silent = set()
        self.state = None
        self._outlets = {
            f"/cameras/{camera.name}/color/image_raw/compressed": (CompressedImage, qos_profile_sensor_data)
            for camera in load_cell(CELL).cameras
        }
        self._outlets |= {"/joint_states": (JointState, 10), "/franka_driver/reference": (RobotReference, 10)}
        self._publishers = {
            name: self.node.create_publisher(kind, name, qos) for name, (kind, qos) in self._outlets.items()
        }
        self._latched = self.node.create_publisher(DriverState, "/franka_driver/state", LATCHED)
        self._latched.publish(DriverState(hold_reason="just started"))
        self.node.create_subscription(RecorderState, "/recorder/state", self._on_state, LATCHED)
        self._start = self.node.create_client(StartEpisode, "/recorder/start")
        self._stop = self.node.create_client(StopEpisode, "/recorder/stop")
        self.node.create_timer(0.05, self._publish)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def close(self):
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def start(self, task="pick"):
        return self._call(self._start, StartEpisode.Request(task=task, instruction="pick it up", operator_name="Ada"))

    def stop(self):
        return self._call(self._stop, StopEpisode.Request(outcome="success"))

    def drive(self, mode):
        self._latched.publish(DriverState(mode=mode))

    def call(self, kind, name):
        client = self.node.create_client(kind, name)
        return self._call(client, kind.Request())

    def start_when_possible(self):
        return wait(lambda: (response := self.start()).success and response)

    def _call(self, client, request):
        assert client.wait_for_service(20)
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:  # a killed server may still be taken for alive, and never answers
            future = client.call_async(request)
            if future_done_within(future, 3.0):
                return future.result()
        pytest.fail(f"{client.srv_name} does not answer")

    def _on_state(self, state):
        self.state = state

    def _publish(self):
        for name in self._outlets.keys() - self.silent:
            message = self._outlets[name][0]()
            now = self.node.get_clock().now()
            message.header.stamp = now.to_msg()
            self.stamps.setdefault(name, []).append(now.nanoseconds)
            self._publishers[name].publish(message)


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture
def recorder(tmp_path):
    process = launch(tmp_path)
    yield process
    process.kill()
    process.communicate()


def launch(directory, cell=CELL):
    return subprocess.Popen(
        [RECORDER, "--ros-args", "-p", f"cell:={cell}", "-p", f"directory:={directory}"],
        env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_episode_over_ros(robot, recorder):
    silent = "/cameras/wrist/color/image_raw/compressed"
    robot.silent = {silent}
    refused = wait(
        lambda: (response := robot.start()).message.startswith(f"no message within 1 s on {silent}:") and response
    )
    assert not refused.success
    robot.silent = set()

    started = robot.start_when_possible()
    assert Path(started.path).name == started.episode_id
    wait(lambda: robot.state.recording and robot.state.messages > 60)
    first = len(robot.stamps["/joint_states"])
    wait(lambda: len(robot.stamps["/joint_states"]) > first + 20)
    last = len(robot.stamps["/joint_states"])
    stopped = robot.stop()
    assert stopped.success, stopped.message
    wait(lambda: not robot.state.recording)

    path = Path(stopped.path)
    with AnyReader([path]) as reader:
        counts = {link.topic: link.msgcount for link in reader.connections}
        states = [
            reader.deserialize(raw, link.msgtype).hold_reason
            for link, _, raw in reader.messages()
            if link.topic == "/franka_driver/state"
        ]
    assert states == ["just started"]
    with (path / f"{path.name}_0.mcap").open("rb") as stream:
        records = [m for _, _, m in make_reader(stream).iter_messages(topics="/joint_states")]
    published = [record.publish_time for record in records]
    assert set(robot.stamps["/joint_states"][first:last]) <= set(published)  # nothing lost in between
    assert set(published) <= set(robot.stamps["/joint_states"])
    assert all(0 <= record.log_time - record.publish_time < 2e9 for record in records)
    episode = load_episode(path)
    assert dict(episode.messages) == counts
    assert (episode.outcome, episode.messages_lost) == ("success", 0)


def test_a_demonstration_needs_the_leader_and_may_be_discarded(robot, recorder):
    robot.start_when_possible()
    robot.stop()
    robot.drive(DriverState.TELEOP)
    refusal = "no message within 1 s on /gello/joint_states: is its node running?"
    wait(lambda: robot.start().message == refusal or not robot.stop())
    robot.drive(DriverState.HOLD)
    started = robot.start_when_possible()
    assert robot.call(Trigger, "/recorder/discard").success
    assert load_episode(Path(started.path)).outcome == "discarded"


def test_a_killed_recorder_is_repaired_by_the_next(robot, tmp_path):
    first = launch(tmp_path)
    whole = Path(robot.start_when_possible().path)
    wait(lambda: robot.state.messages > 20)
    robot.stop()
    before = {file: file.read_bytes() for file in whole.iterdir()}
    path = Path(robot.start_when_possible().path)
    wait(lambda: robot.state.path == str(path) and robot.state.messages > 60)
    handed_over = robot.state.messages
    first.kill()
    first.communicate()
    second = launch(tmp_path)
    try:
        wait(lambda: (path / "metadata.yaml").exists() and load_episode(path).repaired)
        assert sum(load_episode(path).messages.values()) > handed_over / 2
        assert {file: file.read_bytes() for file in whole.iterdir()} == before
        robot.start_when_possible()
    finally:
        second.send_signal(signal.SIGINT)
        _, errors = second.communicate(timeout=20)
    assert f"{path}: its recorder was killed; repaired" in errors


def test_sigint_finishes_the_bag(robot, recorder, tmp_path):
    path = Path(robot.start_when_possible().path)
    wait(lambda: robot.state.messages > 20)
    recorder.send_signal(signal.SIGINT)
    _, errors = recorder.communicate(timeout=20)
    assert recorder.returncode == 0
    assert "Traceback" not in errors
    with AnyReader([path]) as reader:
        assert sum(1 for _ in reader.messages()) > 20
    assert load_episode(path).outcome is None


def test_a_wrong_cell_file_is_lines_not_a_trace(tmp_path):
    (tmp_path / "cell.yaml").write_text("nmae: sim")
    process = launch(tmp_path, tmp_path / "cell.yaml")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "nmae: unknown key" in errors
    assert "Traceback" not in errors
