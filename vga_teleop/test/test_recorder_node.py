"""The recorder node as a process of its own, fed by publishers of ours."""

import signal
from pathlib import Path

import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from std_srvs.srv import Trigger
from support.recorded_robot import Robot, launch_recorder
from support.waiting import eventually
from vga_policy.episodes.metadata import load_episode

from vga_msgs.msg import DriverState

pytestmark = pytest.mark.usefixtures("ros_domain")


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture
def recorder(tmp_path):
    process = launch_recorder(tmp_path)
    yield process
    process.kill()
    process.communicate()


def test_an_episode_over_ros(robot, recorder):
    silent = "/cameras/wrist/color/image_raw/compressed"
    robot.silent.add(silent)
    refused = eventually(
        lambda: (response := robot.start()).message.startswith(f"no message within 1 s on {silent}:") and response
    )
    assert not refused.success
    robot.silent.remove(silent)

    started = robot.start_when_possible()
    assert Path(started.path).name == started.episode_id
    eventually(lambda: robot.state.recording and robot.state.messages > 60)
    first = len(robot.stamps["/joint_states"])
    eventually(lambda: len(robot.stamps["/joint_states"]) > first + 20)
    last = len(robot.stamps["/joint_states"])
    stopped = robot.stop()
    assert stopped.success, stopped.message
    eventually(lambda: not robot.state.recording)

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
    eventually(lambda: robot.start().message == refusal or not robot.stop())
    robot.drive(DriverState.HOLD)
    started = robot.start_when_possible()
    assert robot.call(Trigger, "/recorder/discard").success
    assert load_episode(Path(started.path)).outcome == "discarded"


def test_a_killed_recorder_is_repaired_by_the_next(robot, tmp_path):
    first = launch_recorder(tmp_path)
    whole = Path(robot.start_when_possible().path)
    eventually(lambda: robot.state.messages > 20)
    robot.stop()
    before = {file: file.read_bytes() for file in whole.iterdir()}
    path = Path(robot.start_when_possible().path)
    eventually(lambda: robot.state.path == str(path) and robot.state.messages > 60)
    handed_over = robot.state.messages
    first.kill()
    first.communicate()
    second = launch_recorder(tmp_path)
    try:
        eventually(lambda: (path / "metadata.yaml").exists() and load_episode(path).repaired)
        assert sum(load_episode(path).messages.values()) > handed_over / 2
        assert {file: file.read_bytes() for file in whole.iterdir()} == before
    finally:
        second.send_signal(signal.SIGINT)
        _, errors = second.communicate(timeout=20)
    assert f"{path}: its recorder was killed; repaired" in errors


def test_sigint_finishes_the_bag(robot, recorder, tmp_path):
    path = Path(robot.start_when_possible().path)
    eventually(lambda: robot.state.messages > 20)
    recorder.send_signal(signal.SIGINT)
    _, errors = recorder.communicate(timeout=20)
    assert recorder.returncode == 0
    assert "Traceback" not in errors
    with AnyReader([path]) as reader:
        assert sum(1 for _ in reader.messages()) > 20
    assert load_episode(path).outcome is None


def test_a_wrong_cell_file_is_lines_not_a_trace(tmp_path):
    (tmp_path / "cell.yaml").write_text("nmae: sim")
    process = launch_recorder(tmp_path, tmp_path / "cell.yaml")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "nmae: unknown key" in errors
    assert "Traceback" not in errors


def test_a_file_is_no_directory_for_episodes(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    process = launch_recorder(tmp_path / "notes.txt")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"parameter 'directory' must be a directory, and {tmp_path / 'notes.txt'} is a file" in errors
    assert "Traceback" not in errors
