"""Episodes collected without ROS: the schema of recorded ones, ground truth, and the same again from the same seed."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from vga_bringup.collect.in_process import Collector, CollectRequest
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.cli import main
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.episodes.metadata import load_episode
from vga_policy.observation.joint_states import proprioception
from vga_teleop.recording.recorder import recorded_topics

CELL = load_cell(cell_path("sim"))
CAMERAS = ("fixed_1", "wrist", "fixed_2")
TASK, SEED = "press_button", 40
IMAGE, JOINTS = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/JointState"
TYPES = {
    "/joint_states": JOINTS,
    "/gello/joint_states": JOINTS,
    "/franka_driver/reference": "vga_msgs/msg/RobotReference",
    "/franka_driver/gripper_state": "vga_msgs/msg/GripperState",
    "/franka_driver/state": "vga_msgs/msg/DriverState",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    "/robot_description": "std_msgs/msg/String",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    **{f"/cameras/{camera}/color/image_raw/compressed": IMAGE for camera in CAMERAS},
    **{f"/cameras/{camera}/color/camera_info": "sensor_msgs/msg/CameraInfo" for camera in CAMERAS},
}
GROUND_TRUTH = {
    **{f"/cameras/{camera}/aligned_depth_to_color/image_raw/compressedDepth": IMAGE for camera in CAMERAS},
    **{f"/cameras/{camera}/pose": "geometry_msgs/msg/PoseStamped" for camera in CAMERAS},
}
RATES = {"/joint_states": 100, "/gello/joint_states": 100, "/franka_driver/reference": 100} | {
    f"/cameras/{camera}/color/image_raw/compressed": 15 for camera in CAMERAS
}
OF_A_POLICY = {"/franka_driver/chunk_verdict", "/policy/action_chunk", "/policy/heartbeat"}


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    collector = Collector(CollectRequest(CELL, TASK, 1, tmp_path_factory.mktemp("episodes")))
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def collected(collector):
    return collector.episode(SEED)


@pytest.fixture(scope="module")
def messages(collected):
    """Topic → list of (arrival, message), as rosbags reads them."""
    found = {}
    with AnyReader([collected.path]) as reader:
        assert {connection.topic: connection.msgtype for connection in reader.connections} == TYPES | GROUND_TRUTH
        for connection, arrival, data in reader.messages():
            found.setdefault(connection.topic, []).append((arrival, reader.deserialize(data, connection.msgtype)))
    return found


def stamps(messages):
    return np.array([message.header.stamp.sec * 10**9 + message.header.stamp.nanosec for _, message in messages])


def test_the_topics_are_those_a_recorder_records(messages):
    recorded = set(recorded_topics(CELL)) - OF_A_POLICY
    assert recorded <= set(messages)
    assert set(messages) - recorded == set(GROUND_TRUTH)


def test_the_mcap_reader_and_the_metadata_agree_with_the_messages(collected, messages):
    metadata = yaml.safe_load((collected.path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    (file,) = metadata["relative_file_paths"]
    with (collected.path / file).open("rb") as stream:
        reader = make_reader(stream)
        arrivals = [message.log_time for _, _, message in reader.iter_messages(log_time_order=False)]
        stored = next(record.metadata["cell"] for record in reader.iter_metadata() if record.name == "vga")
    assert len(arrivals) == metadata["message_count"] == sum(map(len, messages.values()))
    assert arrivals == sorted(arrivals), "as a recorder would have written them"
    assert stored == dump_cell(CELL)
    topics = [topic["topic_metadata"] for topic in metadata["topics_with_message_count"]]
    qos = {topic["name"]: topic["offered_qos_profiles"][0] for topic in topics}
    assert qos["/franka_driver/state"]["durability"] == "transient_local"
    assert qos["/cameras/wrist/color/image_raw/compressed"]["reliability"] == "best_effort"


def test_the_episode_says_what_it_is(collected, messages):
    episode = load_episode(collected.path)
    assert (episode.task, episode.seed, episode.source) == (TASK, SEED, "collect --fast")
    assert (episode.outcome, episode.instruction) == ("success", "press the button")
    assert episode.messages == {topic: len(received) for topic, received in messages.items()}
    assert episode.cell == dump_cell(CELL)
    assert (episode.ended_ns - episode.started_ns) / 1e9 == pytest.approx(collected.seconds)
    stampless = {"/robot_description", "/tf", "/tf_static"}
    for topic, received in messages.items():
        if topic in stampless:
            continue
        stamped = stamps(received)
        assert (np.diff(stamped) > 0).all(), topic
        assert episode.started_ns <= stamped[0], topic
        assert stamped[-1] < episode.ended_ns, topic
        if topic in RATES:
            assert len(received) == pytest.approx(RATES[topic] * collected.seconds, abs=1.5), topic


def test_images_arrive_later_than_they_were_taken_and_cameras_agree_on_the_time(messages):
    images = [messages[f"/cameras/{camera}/color/image_raw/compressed"] for camera in CAMERAS]
    for received in images:
        assert {arrival - stamp for (arrival, _), stamp in zip(received, stamps(received), strict=True)} == {40_000_000}
    assert (stamps(images[0]) == stamps(images[1])).all()
    assert set(np.diff(stamps(images[0]))) <= {66_000_000, 67_000_000}


def test_joint_states_are_named_as_everywhere(messages):
    for topic in ("/joint_states", "/gello/joint_states"):
        _, first = messages[topic][0]
        assert proprioception(CELL, first.name, first.position)[7] == pytest.approx(0.08, abs=2e-3)
    _, reference = messages["/franka_driver/reference"][-1]
    assert reference.joint_names == CELL.arm.joint_names
    assert reference.mode == reference.TELEOP


def test_depth_camera_parameters_and_pose_put_the_table_where_it_is(messages):
    for camera in CAMERAS:
        _, depth = messages[f"/cameras/{camera}/aligned_depth_to_color/image_raw/compressedDepth"][0]
        _, info = messages[f"/cameras/{camera}/color/camera_info"][0]
        _, pose = messages[f"/cameras/{camera}/pose"][0]
        assert depth.format == "16UC1; compressedDepth png"
        millimeters = cv2.imdecode(depth.data[12:], cv2.IMREAD_UNCHANGED)
        assert (millimeters.dtype, millimeters.shape) == (np.uint16, (240, 320))
        v, u = np.mgrid[60:240:7, 0:320:7]
        rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(info.k.reshape(3, 3)).T
        q, p = pose.pose.orientation, pose.pose.position
        points = rays * millimeters[v, u, None] / 1000 @ rotation(q.x, q.y, q.z, q.w).T + (p.x, p.y, p.z)
        assert np.median(np.abs(points[..., 2])) < 2e-3, camera
        assert pose.header.frame_id == "fr3_link0"


def test_tf_agrees_with_mujoco_on_where_the_cameras_are(messages):
    """Within 1 mm and 0.1 degrees, an image and a tf of the same time, as rosbags and MuJoCo say."""
    (_, fixed), *none_later = messages["/tf_static"]
    assert not none_later
    assert ET.fromstring(messages["/robot_description"][0][1].data).tag == "robot"
    moving = {
        tf.transforms[0].header.stamp.sec * 10**9 + tf.transforms[0].header.stamp.nanosec: tf
        for _, tf in messages["/tf"]
    }
    assert 30 <= (len(moving) - 1) / (max(moving) - min(moving)) * 1e9 <= 50
    compared = 0
    for camera in CAMERAS:
        for stamp, (_, truth) in zip(
            stamps(messages[f"/cameras/{camera}/pose"]), messages[f"/cameras/{camera}/pose"], strict=True
        ):
            tf = moving.get(stamp)
            if tf is None:
                continue
            turn, place = in_base(f"{camera}_color_optical_frame", [*fixed.transforms, *tf.transforms])
            q, p = truth.pose.orientation, truth.pose.position
            np.testing.assert_allclose(place, (p.x, p.y, p.z), atol=1e-3)
            apart = turn.T @ rotation(q.x, q.y, q.z, q.w)
            assert np.degrees(np.arccos(min(1.0, (np.trace(apart) - 1) / 2))) < 0.1
            compared += 1
    assert compared >= 3 * len(CAMERAS)


def in_base(frame, transforms):
    """Rotation and position of a frame in the arm's base, by a message of tf and one of tf_static."""
    above = {transform.child_frame_id: transform for transform in transforms}
    turn, place = np.eye(3), np.zeros(3)
    while frame != "fr3_link0":
        step = above[frame]
        r, t = step.transform.rotation, step.transform.translation
        own = rotation(r.x, r.y, r.z, r.w)
        turn, place, frame = own @ turn, own @ place + (t.x, t.y, t.z), step.header.frame_id
    return turn, place


def rotation(x, y, z, w):
    cross = np.array(((0, -z, y), (z, 0, -x), (-y, x, 0)))
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def test_the_same_seed_gives_the_same_episode(collected, messages, tmp_path):
    """From another process, after other episodes, through the command."""
    command = ["collect", "--in-process", "--task", TASK, "--episodes", "2", "--seed", str(SEED), "--jobs", "2"]
    assert main([*command, "--out", str(tmp_path), "--no-depth"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{TASK}_{SEED + i:06d}" for i in range(2)]
    with AnyReader([tmp_path / collected.path.name]) as reader:
        again = {connection.topic: connection.msgtype for connection in reader.connections}
        assert again == TYPES
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            if connection.topic == "/joint_states":
                last = message
    assert (last.position == messages["/joint_states"][-1][1].position).all()


def test_a_beginning_has_whole_chunks_though_the_cameras_stop(collector, monkeypatch):
    monkeypatch.setattr(collector, "request", replace(collector.request, images_for=1.0, depth=False))
    collected = collector.episode(SEED + 1)
    assert collected.outcome == "success"
    dataset = EpisodeDataset([collected.path], 28)
    assert 5 < len(dataset) <= 11
    assert dataset.samples.action_mask.all()
    assert collected.seconds > 3.0


def test_an_existing_episode_is_kept(collected, capsys):
    before = {path: path.stat().st_mtime_ns for path in collected.path.iterdir()}
    command = ["collect", "--in-process", "--task", TASK, "--episodes", "1", "--seed", str(SEED)]
    assert main([*command, "--out", str(collected.path.parent)]) == 2
    assert f"{collected.path} exists: choose another --seed or --out" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in collected.path.iterdir()} == before


def test_an_unknown_task_is_refused_in_one_line(tmp_path, capsys):
    assert main(["collect", "--in-process", "--task", "juggle", "--episodes", "1", "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.startswith("vga collect: no task 'juggle'; there are pick_cube,")
    assert not (tmp_path / "new").exists()


def test_a_directory_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "episodes"
    assert main(["collect", "--in-process", "--task", TASK, "--episodes", "1", "--out", str(out)]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_an_episode_that_breaks_off_leaves_nothing(collector, monkeypatch):
    directory = Path(collector.request.directory)
    before = sorted(directory.iterdir())

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vga_bringup.collect.in_process.demonstrate", fail)
    with pytest.raises(OSError, match="No space left"):
        collector.episode(99)
    assert sorted(directory.iterdir()) == before
