"""A policy's run, recorded and replayed: live node, dataset and replay agree on every tensor.

Policy node, recorder and replay are processes of their own; cameras, arm and driver are played by this one.
"""

import json
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import rclpy
import simplejpeg
from mcap.writer import CompressionType, Writer
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from support.cells import SIM, SIM_FILE
from support.episodes import START, MadeEpisode
from support.waiting import eventually
from vga_policy.bags import cdr
from vga_policy.bags.definitions import definition
from vga_policy.bags.reader import Bag
from vga_policy.bags.writer import BagWriter
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.units import SECOND

from vga_msgs.action import RunTask
from vga_msgs.msg import ActionChunk, DriverState, PolicyHeartbeat, RecorderState, RobotReference
from vga_msgs.srv import StartEpisode, StopEpisode

DEADLINE = 60.0
ASK_AGAIN = 10.0  # s
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
CAPTURE_DELAY = 0.02  # s from capture to publishing
INSTRUCTION = "pick up the red cube"
RECORDED_CHUNKS = 25
INPUTS = [*(f"/cameras/{camera.name}/color/image_raw/compressed" for camera in SIM.views), "/joint_states"]

pytestmark = pytest.mark.usefixtures("ros_domain")


def ns(stamp):
    return stamp.sec * 10**9 + stamp.nanosec


class Outsider:
    """A node that calls the others and keeps what they say."""

    def __init__(self):
        self.beats, self.chunks, self.clocks, self.recorder = [], [], [], RecorderState()
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node("outsider", context=self._context)
        self.node.create_subscription(PolicyHeartbeat, "/policy/heartbeat", self.beats.append, 100)
        self.node.create_subscription(ActionChunk, "/policy/action_chunk", self.chunks.append, 100)
        self.node.create_subscription(Clock, "/clock", lambda message: self.clocks.append(ns(message.clock)), 100)
        self._driver = self.node.create_publisher(DriverState, "/franka_driver/state", LATCHED)
        self.node.create_timer(0.1, lambda: self._driver.publish(DriverState(mode=DriverState.POLICY)))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._spin)]

    def start(self):
        for thread in self._threads:
            thread.start()

    def close(self):
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def call(self, kind, name, **request):
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(DEADLINE), name
        futures, asked = [], 0.0

        def answered():
            # A server answers into the void while it has not discovered the client yet: ask again.
            nonlocal asked
            if time.monotonic() - asked > ASK_AGAIN:
                asked = time.monotonic()
                futures.append(client.call_async(kind.Request(**request)))
            return next((future for future in futures if future.done()), None)

        return eventually(answered, f"{name} is answered").result()

    def start_task(self):
        """Gives the policy a task and returns its goal."""
        client = ActionClient(self.node, RunTask, "/policy/run_task")
        assert client.wait_for_server(DEADLINE)
        future = client.send_goal_async(RunTask.Goal(instruction=INSTRUCTION))
        eventually(future.done, "the goal is answered")
        return future.result()

    def _spin(self):
        while not self._closing.is_set():
            self._executor.spin_once(timeout_sec=0.05)


class PlayedCell(Outsider):
    """Cameras and an arm in motion, at their real rates."""

    def __init__(self):
        super().__init__()
        self._made = MadeEpisode(seconds=4.0)
        self._images = {
            name: self.node.create_publisher(
                CompressedImage, f"/cameras/{name}/color/image_raw/compressed", qos_profile_sensor_data
            )
            for name in ("fixed_1", "wrist", "fixed_2")
        }
        self._joints = self.node.create_publisher(JointState, "/joint_states", 10)
        self._reference = self.node.create_publisher(RobotReference, "/franka_driver/reference", 10)
        self._began = time.time()
        self._threads += [threading.Thread(target=self._play, args=(name,)) for name in (*self._images, "arm")]

    def _play(self, what):
        period = 0.01 if what == "arm" else 1 / 15
        due = time.time() + self._made.phase.get(what, 0.0)
        while not self._closing.is_set():
            due += period
            time.sleep(max(0.0, due - time.time()))
            (self._move if what == "arm" else self._capture)(what)

    def _capture(self, camera):
        taken = time.time() - CAPTURE_DELAY
        pixels = self._made.pixels(camera, taken - self._began)
        image = CompressedImage(format="rgb8; jpeg compressed bgr8")
        image.data.frombytes(simplejpeg.encode_jpeg(pixels, 90, "RGB", "420"))
        image.header.stamp = Time(nanoseconds=round(taken * 1e9)).to_msg()
        self._images[camera].publish(image)

    def _move(self, _):
        now = time.time_ns()
        moment = (now / 1e9 - self._began) % 4.0
        state = JointState(name=SIM.joint_state_names)
        state.position = [*self._made.measured(moment), self._made.width(moment) / 2]
        reference = RobotReference(joint_names=SIM.arm.joint_names, gripper_width=self._made.width(moment))
        reference.position = self._made.reference(moment)
        state.header.stamp = reference.header.stamp = Time(nanoseconds=now).to_msg()
        self._joints.publish(state)
        self._reference.publish(reference)


@contextmanager
def process(*command):
    """A process of the graph; it must end by itself or on SIGINT, without a trace of trouble."""
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    errors = []
    reader = threading.Thread(target=lambda: errors.extend(child.stderr))
    reader.start()
    try:
        yield child
    except AssertionError as error:
        raise AssertionError(f"{command[0]} ({child.poll()}): {''.join(errors)}") from error
    finally:
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGINT)
        try:
            code = child.wait(DEADLINE)
        finally:
            child.kill()
            reader.join()
    assert code == 0, "".join(errors)
    assert not any("Traceback" in line for line in errors), "".join(errors)


def policy(dump, *more):
    return process("policy_node", "--ros-args", "-p", f"cell:={SIM_FILE}", "-p", f"dump:={dump}", *more)


def replay(*bags, **parameters):
    given = [f"{name}:={json.dumps(value)}" for name, value in ({"bags": list(map(str, bags))} | parameters).items()]
    return process("replay_node", "--ros-args", *(word for each in given for word in ("-p", each)))


def recorder(directory):
    return process("recorder_node", "--ros-args", "-p", f"cell:={SIM_FILE}", "-p", f"directory:={directory}")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A recorded run: the episode's path and the directory of what the policy was given."""
    directory = tmp_path_factory.mktemp("run")
    cell = PlayedCell()
    cell.start()
    try:
        with policy(directory / "live"), recorder(directory / "episodes"):
            eventually(lambda: cell.beats and cell.beats[-1].healthy, "the policy is healthy")

            def started():
                answer = cell.call(StartEpisode, "/recorder/start", task="pick_cube", instruction=INSTRUCTION)
                return answer.path if answer.success else None

            path = Path(eventually(started, "the recorder hears every topic"))
            goal = cell.start_task()
            eventually(
                lambda: len(cell.chunks) >= RECORDED_CHUNKS, lambda: f"the policy acts; it says {cell.beats[-1:]}"
            )
            eventually(goal.cancel_goal_async().done, "the goal is canceled")
            stopped = cell.call(StopEpisode, "/recorder/stop", outcome="success")
            assert stopped.success, stopped.message
    finally:
        cell.close()
    return path, directory / "live"


def dumps(directory, bag):
    """What the policy was given while the bag was recorded, by t_obs: from when all of its inputs are in the bag."""
    found = {int(file.stem): np.load(file) for file in directory.glob("*.npz")}
    recorded = [bag.stamps(topic) for topic in INPUTS]
    first, last = max(stamps[0] for stamps in recorded), min(stamps[-1] for stamps in recorded)
    return {t_obs: found[t_obs] for t_obs in sorted(found) if first <= t_obs <= last}


def assert_same(sample, dumped):
    assert np.array_equal(sample["images"].numpy(), dumped["images"])
    assert np.array_equal(sample["proprioception"].numpy(), dumped["proprioception"].astype(np.float32))
    assert sample["stamp_ns"] == dumped["stamp_ns"]


def test_training_sees_exactly_what_the_live_policy_saw(run):
    path, live = run
    with Bag(path) as bag:
        dumped = dumps(live, bag)
    assert len(dumped) >= RECORDED_CHUNKS // 2
    size = next(iter(dumped.values()))["images"].shape[-1]
    data = EpisodeDataset([path], size, skip_idle=False, rate_hz=50.0)
    for t_obs, arrays in dumped.items():
        assert_same(data.sample_at(0, t_obs), arrays)
    # The table's own samples are the same ones.
    rows = {int(stamp): row for row, stamp in enumerate(data.samples.stamps)}
    shared = rows.keys() & dumped.keys()
    assert len(shared) > len(dumped) // 2
    for t_obs in shared:
        assert_same(data[rows[t_obs]], dumped[t_obs])
        assert data.samples.image_stamps[rows[t_obs]].tolist() == dumped[t_obs]["image_stamps_ns"].tolist()


def test_a_replay_shows_the_policy_what_it_saw_live(run, tmp_path):
    path, _ = run
    outsider = Outsider()
    outsider.start()
    try:
        with (
            policy(tmp_path / "replayed", "-p", "use_sim_time:=true"),
            replay(path, rate=0.7, loop=True, start_paused=True, topics=INPUTS),
        ):
            outsider.call(SetBool, "/replay/pause", data=False)
            eventually(
                lambda: outsider.beats and outsider.beats[-1].healthy, lambda: f"all is fresh: {outsider.beats[-1:]}"
            )
            paused = outsider.call(SetBool, "/replay/pause", data=True)
            assert paused.message.startswith("paused at ")
            outsider.clocks.clear()
            eventually(lambda: len(outsider.clocks) > 20, "the standing clock is published")
            assert len(set(outsider.clocks[5:])) == 1
            outsider.call(SetBool, "/replay/pause", data=False)
            ends = []
            while len(ends) < 8 and (len(outsider.chunks) < 10 or "the clock was set back" not in ends):
                ended = outsider.start_task().get_result_async()
                eventually(ended.done, "the replay starts over, which ends the task")
                ends.append(ended.result().result.message)
    finally:
        outsider.close()
    with Bag(path) as bag:
        dumped = dumps(tmp_path / "replayed", bag)
        stamps = set(np.concatenate([bag.stamps(topic) for topic in INPUTS]).tolist())
    assert "the clock was set back" in ends
    assert {ns(chunk.header.stamp) for chunk in outsider.chunks} <= stamps
    assert len(dumped) >= 5
    data = EpisodeDataset([path], next(iter(dumped.values()))["images"].shape[-1])
    for t_obs, arrays in dumped.items():
        assert_same(data.sample_at(0, t_obs), arrays)


def test_a_replay_ends_with_its_last_bag(run):
    path, _ = run
    outsider = Outsider()
    outsider.start()
    try:
        with Bag(path) as bag, replay(path, path, rate=4.0, start_paused=True, topics=INPUTS) as child:
            eventually(lambda: outsider.clocks, "the standing clock is heard")
            assert set(outsider.clocks) == {bag.start_ns}
            outsider.call(SetBool, "/replay/pause", data=False)
            assert child.wait(DEADLINE) == 0
            eventually(lambda: outsider.clocks and outsider.clocks[-1] == bag.end_ns, "its end has been heard")
            assert sum(np.diff(outsider.clocks) < 0) == 1
    finally:
        outsider.close()


def test_latched_topics_of_older_distributions_reach_a_late_subscriber(tmp_path):
    """Their policies are numbers: reliability 1 is reliable, durability 1 is transient local."""
    qos = {"offered_qos_profiles": "- history: 3\n  depth: 10\n  reliability: 1\n  durability: 1\n"}
    start, second = 1_790_000_000 * 10**9, 10**9
    with (tmp_path / "old.mcap").open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        for topic, kind, metadata, count in (
            ("/mounts", "std_msgs/msg/Header", qos, 3),
            ("/words", "std_msgs/msg/String", {}, 60),
        ):
            schema = writer.register_schema(kind, "ros2msg", definition(kind).text.encode())
            channel = writer.register_channel(topic, "cdr", schema, metadata)
            for number in range(count):
                made = {"frame_id": f"camera_{number}"} if count == 3 else {"data": "on"}
                time_ns = start + number * (second if count > 3 else 1)
                writer.add_message(channel, time_ns, cdr.encode(cdr.new(kind, **made)), time_ns)
        writer.finish()
    outsider, heard = Outsider(), []
    outsider.start()
    try:
        with replay(tmp_path / "old.mcap"):
            eventually(lambda: outsider.clocks and outsider.clocks[-1] > start + second, "1 s is replayed")
            qos = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            outsider.node.create_subscription(Header, "/mounts", heard.append, qos)
            eventually(lambda: len(heard) == 3, "all of them came")
    finally:
        outsider.close()
    assert [message.frame_id for message in heard] == ["camera_0", "camera_1", "camera_2"]


def test_a_replay_does_not_mix_with_a_live_cell(run):
    path, _ = run
    cell = PlayedCell()
    cell.start()
    try:
        finished = subprocess.run(
            ["replay_node", "--ros-args", "-p", f"bags:=[{path}]"],
            timeout=DEADLINE,
            capture_output=True,
            text=True,
        )
    finally:
        cell.close()
    assert finished.returncode == 2
    assert "/joint_states" in finished.stderr
    assert "published by a live node" in finished.stderr


def test_a_replay_says_what_to_open_and_how_far_it_came(tmp_path):
    writer = BagWriter(tmp_path / "words", {})
    writer.add_topic(cdr.topic("/words", "std_msgs/msg/String"))
    for second in range(3):
        writer.write(
            "/words", cdr.encode(cdr.new("std_msgs/msg/String")), START + second * SECOND, START + second * SECOND
        )
    writer.close()
    command = ["vga", "replay", tmp_path / "words", "--rate", "10", "--namespace", "left"]
    finished = subprocess.run(command, timeout=DEADLINE, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    first, last = finished.stdout.splitlines()
    assert first.endswith(f"without ROS: vga curate {tmp_path / 'words'} --out replayed.html")
    assert last == "ended: words (1 of 1): 2.0 of 2.0 s, 10 x"


def test_what_cannot_be_replayed_is_said_in_a_line(tmp_path):
    finished = subprocess.run(["vga", "replay", tmp_path], timeout=DEADLINE, capture_output=True, text=True)
    assert finished.returncode == 2
    assert (
        finished.stderr.strip() == f"replay: no episode in {tmp_path}: record some with `vga record` or `vga collect`"
    )
