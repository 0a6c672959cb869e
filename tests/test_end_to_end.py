"""The whole simulated graph from outside: what it offers, how it fails, and that it leaves nothing behind.

One graph serves all tests, in their order; each leaves it ready for the next.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from rclpy.action import ActionClient
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, JointState
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.shared_memory import MEMORY, SETTLING
from vga_bringup.graph.spec import sim_graph
from vga_bringup.sim.physics.state import StateReader
from vga_policy.cell.loading import load_cell
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.readiness import Readiness
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

from vga_msgs.action import Home, RunTask
from vga_msgs.msg import ChunkVerdict, DriverState, RobotReference

PYTHON_PAGE = Path(__file__).parents[1] / "docs/how-to/python.md"
INSTRUCTION = "pick up the red cube"
REST_WITHIN = 0.6  # s from the death of policy or camera
AT_REST = 1e-3  # rad/s of the reference
STILL = 0.02  # rad/s measured: what remains of a movement that has been stopped
SECOND = 10**9

TOPICS = {
    **{
        f"/cameras/{camera}/color/{topic}": kind
        for camera in ("fixed_1", "wrist", "fixed_2")
        for topic, kind in {
            "image_raw": "sensor_msgs/msg/Image",
            "image_raw/compressed": "sensor_msgs/msg/CompressedImage",
            "camera_info": "sensor_msgs/msg/CameraInfo",
        }.items()
    },
    "/joint_states": "sensor_msgs/msg/JointState",
    "/franka_driver/reference": "vga_msgs/msg/RobotReference",
    "/franka_driver/state": "vga_msgs/msg/DriverState",
    "/franka_driver/chunk_verdict": "vga_msgs/msg/ChunkVerdict",
    "/franka_driver/gripper_state": "vga_msgs/msg/GripperState",
    "/policy/action_chunk": "vga_msgs/msg/ActionChunk",
    "/policy/heartbeat": "vga_msgs/msg/PolicyHeartbeat",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
}


class Watch:
    """The running graph, watched through topics only. What it saw is kept, newest last."""

    def __init__(self, session, runner, cell):
        self.session, self.runner, self.cell = session, runner, cell
        self.readiness = Readiness(session, cell)
        self.driver = DriverClient(session)
        self.references, self.joints, self.verdicts, self.images = [], [], [], []
        self.state = DriverState()
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for kind, topic, callback, qos in (
            (RobotReference, "/franka_driver/reference", self.references.append, 1000),
            (JointState, "/joint_states", self.joints.append, 1000),
            (ChunkVerdict, "/franka_driver/chunk_verdict", self.verdicts.append, 100),
            (DriverState, "/franka_driver/state", self._on_state, latched),
            (CompressedImage, "/cameras/wrist/color/image_raw/compressed", self.images.append, qos_profile_sensor_data),
        ):
            session.node.create_subscription(kind, topic, callback, qos)

    def _on_state(self, state):
        self.state = state

    def until(self, condition, what, seconds=60.0):
        assert self.session.spin_until(condition, timeout=seconds), f"{what} did not come within {seconds} s"

    def during(self, seconds):
        """Watches for some time."""
        self.session.spin_until(lambda: False, timeout=seconds)

    def until_ready(self):
        ended = {}

        def settled():
            ended.update(self.runner.ended())
            return ended or not self.readiness.missing()

        self.session.spin_until(settled, timeout=120.0)
        assert not self.readiness.missing(), f"missing: {self.readiness.missing()}, ended: {ended}"

    def start_task(self):
        """Arms, sends a task and waits until the arm moves by it; a busy machine may need several attempts."""
        for _ in range(5):
            task = PolicyClient(self.session)
            try:
                self.until_ready()
                self.driver.policy()
                task.start(INSTRUCTION)
            except GraphError:
                continue
            if self.session.spin_until(lambda task=task: task.done or self.moving(task), 10.0) and not task.done:
                return task
        pytest.fail(f"no task moved the arm: {self.state.hold_reason}")

    def moving(self, task):
        """Whether the arm moves by this very task."""
        newest = self.references[-1]
        return bytes(newest.goal_id.uuid) == task.goal_id and newest.step >= 0 and speed(newest) > 0.05

    def kill(self, name):
        """Kills a node in mid-motion; the time of its death, ns."""
        at = time.time_ns()
        os.kill(self.runner.pid(name), signal.SIGKILL)
        return at

    def restart(self, name):
        self.until(lambda: name in self.runner.ended() or name not in self.runner.running, f"end of {name}")
        self.runner.start(name)

    def assert_came_to_rest(self, since, within):
        """References and the measured arm are still from `since` + `within` on."""
        limit = since + within * SECOND
        assert [r for r in self.references if stamp(r) > limit], "the driver is silent"
        late = [(stamp(r) - since) / SECOND for r in self.references if stamp(r) > limit and speed(r) > AT_REST]
        assert not late, f"the reference still moved {late[-1]:.2f} s after the kill"
        assert not [r.step for r in self.references if stamp(r) > limit and r.step >= 0]
        after = [np.abs(j.velocity[:7]).max() for j in self.joints if stamp(j) > limit + 0.1 * SECOND]
        assert max(after) < STILL


def stamp(message):
    return message.header.stamp.sec * SECOND + message.header.stamp.nanosec


def speed(reference):
    return float(np.abs(reference.velocity).max())


@pytest.fixture(scope="module")
def watch(ros_domain, sim_cell, tmp_path_factory):
    output = tmp_path_factory.mktemp("graph") / "nodes.log"
    try:
        with (
            output.open("w") as log,
            Runner(sim_graph(cell=str(sim_cell), checkpoint="untrained"), log) as runner,
            Session("watch") as session,
        ):
            watch = Watch(session, runner, load_cell(sim_cell))
            watch.until_ready()
            yield watch
    finally:
        print(output.read_text())


def test_topics_have_the_right_types(watch):
    offered = dict(watch.session.node.get_topic_names_and_types())
    assert {topic: offered.get(topic) for topic in TOPICS} == {topic: [kind] for topic, kind in TOPICS.items()}
    services = dict(watch.session.node.get_service_names_and_types())
    assert services["/franka_driver/set_mode"] == ["vga_msgs/srv/SetMode"]
    assert services["/franka_driver/stop"] == ["std_srvs/srv/Trigger"]
    for action in ("/policy/run_task", "/franka_driver/home", "/franka_driver/recover"):
        assert f"{action}/_action/send_goal" in services


@pytest.mark.parametrize(("name", "rate"), [("joints", 50.0), ("images", 14.0)])
def test_rates_and_stamps(watch, name, rate):
    seen = getattr(watch, name)

    def regular():
        """Two seconds at the rate: a busy machine may have to be waited for."""
        recent = [stamp(m) for m in seen if stamp(m) > time.time_ns() - 2.5 * SECOND]
        return len(recent) > 1 and (len(recent) - 1) / (recent[-1] - recent[0]) * SECOND >= rate and len(recent) > rate

    watch.until(regular, f"{rate} Hz of {name}")
    stamps = np.array([stamp(m) for m in seen])
    assert (np.diff(stamps) > 0).all()
    assert 0 < time.time_ns() - stamps[-1] < SECOND


def test_a_task_is_sent_canceled_and_sent_again(watch):
    for _ in range(5):
        first = watch.start_task()
        result = first.cancel()
        if result.outcome == RunTask.Result.CANCELED:
            break  # a busy machine may have aborted it before
    assert result.outcome == RunTask.Result.CANCELED
    canceled = time.time_ns()
    watch.until(lambda: speed(watch.references[-1]) < AT_REST, "rest")
    # A goal canceled is a goal dead: what was under way is rejected, and no step of it follows.
    watch.during(1.0)
    assert not [r for r in watch.references if stamp(r) > canceled + 0.3 * SECOND and r.step >= 0]

    second = watch.start_task()
    assert second.goal_id != first.goal_id
    begun = stamp(watch.references[-1])  # by which it already moves
    watch.during(1.0)
    moved_by = {bytes(r.goal_id.uuid) for r in watch.references if stamp(r) >= begun and r.step >= 0}
    assert moved_by == {second.goal_id}
    second.cancel()
    watch.driver.hold()


def test_a_task_without_arming_says_what_to_do(watch):
    watch.until_ready()
    task = PolicyClient(watch.session)
    watch.driver.hold()
    task.start(INSTRUCTION)
    watch.until(lambda: task.done, "the result")
    assert task.result().outcome == RunTask.Result.ABORTED
    assert "set_mode with POLICY" in task.result().message


def test_vga_run(watch):
    def start(*options):
        watch.until_ready()
        command = [sys.executable, "-m", "vga_policy", "run", INSTRUCTION, *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    for _ in range(5):  # a busy machine may abort the task
        process = start("--max-steps", "5")
        watch.until(lambda process=process: process.poll() is not None, "the end of vga run")
        if process.returncode == 0:
            break
    assert process.returncode == 0
    assert "5 steps" in process.stdout.read()

    process = start()
    assert "Ctrl-C cancels" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    watch.until(lambda: process.poll() is not None, "the end of vga run")
    assert process.returncode == 130
    assert watch.state.mode == DriverState.HOLD


def test_the_program_of_the_python_page(watch):
    program = re.search(r"```python\n(.*?)```", PYTHON_PAGE.read_text(), re.DOTALL)[1]
    for _ in range(5):  # a busy machine may abort the task
        watch.driver.hold()
        watch.until(lambda: watch.state.mode == DriverState.HOLD and watch.state.at_rest, "HOLD")
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        watch.until(lambda process=process: process.poll() is not None, "the end of the program")
        shown = process.stdout.read()
        if "step limit" in shown:
            break
    assert re.fullmatch(r"at home\nstep limit of 20 reached: 20 steps, \d+ chunks\n", shown)
    assert process.returncode == 0
    watch.until(lambda: watch.state.mode == DriverState.HOLD, "HOLD")


def test_the_arm_is_stopped_recovered_and_sent_home_from_a_shell(watch):
    def ask(command):
        process = subprocess.Popen(
            [sys.executable, "-m", "vga_policy", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        watch.until(lambda: process.poll() is not None, f"the end of vga {command}")
        return process.returncode, process.stdout.read()

    watch.start_task()
    # By a session that is there already: whoever joins holds up the cameras of a small machine, and that ends the task.
    client = ActionClient(watch.session.node, Home, "/franka_driver/home")
    result = watch.session.act(client, "home", Home.Goal(), threading.Event(), 10.0)
    assert not result.success
    assert "not homing: the driver is in POLICY: set HOLD first" in result.message
    assert ask("stop")[0] == 0
    watch.until(lambda: watch.state.mode == DriverState.HOLD and watch.state.at_rest, "HOLD")
    assert ask("recover")[0] == 0
    assert ask("home")[0] == 0
    home = watch.cell.arm.home
    assert np.allclose(watch.joints[-1].position[:7], home, atol=0.01)


@pytest.mark.parametrize("victim", ["policy", "wrist"])
def test_the_arm_rests_when_policy_or_camera_is_killed(watch, victim):
    watch.start_task()
    killed = watch.kill(victim)
    watch.until(lambda: watch.state.mode == DriverState.HOLD and watch.state.at_rest, "HOLD")
    watch.during(1.0)
    watch.assert_came_to_rest(killed, REST_WITHIN)
    assert "heartbeat" in watch.state.hold_reason

    # Back again, and re-armed, the arm does not move before a new goal.
    watch.restart(victim)
    watch.until_ready()
    watch.driver.policy()
    watch.during(1.0)
    watch.assert_came_to_rest(killed, REST_WITHIN)
    watch.start_task().cancel()


def test_the_arm_stops_when_the_driver_is_killed(watch):
    watch.start_task()
    arm = StateReader(watch.cell.arm.ip)
    watch.kill("franka_driver")
    time.sleep(REST_WITHIN)
    before = arm.read()
    time.sleep(0.5)
    after = arm.read()
    moved = np.abs(after.state[1:8] - before.state[1:8]).max()
    assert moved / (after.sim_time - before.sim_time) < STILL

    watch.restart("franka_driver")
    watch.until(lambda: watch.state.connected and watch.state.mode == DriverState.HOLD, "the connection")
    began = time.time_ns()
    watch.during(1.0)
    watch.assert_came_to_rest(began, 0.0)
    assert np.allclose(watch.joints[-1].position[:7], after.state[1:8], atol=0.01)
    watch.start_task().cancel()


def test_nothing_remains(watch):
    """After three nodes were killed, and a helper too."""
    processes = [psutil.Process(watch.runner.pid(name)) for name in watch.runner.running]
    processes += [child for process in processes for child in process.children(recursive=True)]
    mapped = {path for process in processes for path in files(process)}
    helper = next(process for process in processes if "renderer" in " ".join(process.cmdline()))
    helper.kill()
    time.sleep(SETTLING)
    watch.runner.stop()
    assert not [process for process in processes if process.is_running()]
    assert not [path for path in mapped if path.exists()]
    assert not list(MEMORY.glob(f"*{watch.cell.arm.ip}*"))


def files(process):
    """Files in shared memory that only the graph has mapped: the watch shares ports and its readers' segments."""
    own = Path(f"/proc/{os.getpid()}/maps").read_text()
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    paths = {Path(line.split()[-1]) for line in maps.splitlines() if f" {MEMORY}/" in line}
    return {path for path in paths if path.name.startswith(("fastrtps", "vga_sim")) and str(path) not in own}
