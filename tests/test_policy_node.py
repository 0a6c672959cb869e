"""The policy node in its own process, with cameras, an arm's joint states and a driver played by this one."""

import array
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import rclpy
import simplejpeg
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from support.cells import SIM, SIM_FILE
from support.nodes import program
from support.waiting import eventually
from vga_policy.checkpoints import locate
from vga_policy.viewpoint.reference import References

from vga_msgs.action import RunTask
from vga_msgs.msg import ActionChunk, DriverState, PolicyHeartbeat

DEADLINE = 60.0
VIEWS = [camera.name for camera in SIM.views]
STANDING = [*SIM.arm.home, 0.02]
ELSEWHERE = [*SIM.arm.home[:3], 1e300, *SIM.arm.home[4:], 0.02]  # where no arm can be
CAPTURE_DELAY = 0.02
SECOND = 1_000_000_000

pytestmark = pytest.mark.usefixtures("ros_domain")


def ns(stamp):
    return stamp.sec * SECOND + stamp.nanosec


def goal_of(message):
    return bytes(message.goal_id.uuid)


NO_GOAL = bytes(16)


class PlayedCell:
    """Publishes what the cell would, and keeps everything the policy says.

    silent: names of the views, and "joints", "driver" or "clock", that publish nothing for now.
    measured: positions of each joint state that is published at a time.
    ahead: seconds that this cell's system clock is ahead of the policy's.
    clock_speed: None for the system clock; else /clock is published and runs so much faster, from 1000 s on.
    raw: images are not compressed, and BGR as some drivers have them.
    pictures: what some views show instead of noise, RGB, by their names.
    """

    def __init__(self, clock_speed=None, raw=False, pictures=None):
        self.silent, self.mode, self.hold_reason, self.kept = set(), DriverState.POLICY, "", NO_GOAL
        self.ahead, self.measured = 0.0, [STANDING]
        self.chunks, self.beats, self.diagnostics, self.feedback = [], [], [], []
        self._sent = []
        self._clock_speed, self._began = clock_speed, time.monotonic()
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node("played_cell", context=self._context)
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        if raw:
            pixels = array.array("B", noise.tobytes())
            self._image = Image(encoding="bgr8", height=240, width=320, step=3 * 320, data=pixels)
        else:
            jpeg = array.array("B", simplejpeg.encode_jpeg(noise, 90, "RGB", "420"))
            self._image = CompressedImage(format="rgb8; jpeg compressed bgr8", data=jpeg)
        self._shown = {
            view: array.array("B", simplejpeg.encode_jpeg(picture, 90, "RGB", "420"))
            for view, picture in (pictures or {}).items()
        }
        topic = "/cameras/{}/color/image_raw" + ("" if raw else "/compressed")
        self._images = {
            view: self.node.create_publisher(type(self._image), topic.format(view), qos_profile_sensor_data)
            for view in VIEWS
        }
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._joints = self.node.create_publisher(JointState, "/joint_states", 10)
        self._driver = self.node.create_publisher(DriverState, "/franka_driver/state", latched)
        self._clock = self.node.create_publisher(Clock, "/clock", 10)
        self.node.create_subscription(ActionChunk, "/policy/action_chunk", self.chunks.append, 100)
        self.node.create_subscription(PolicyHeartbeat, "/policy/heartbeat", self.beats.append, 100)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 100)
        self.client = ActionClient(self.node, RunTask, "/policy/run_task")
        speed = clock_speed or 1.0
        self.node.create_timer(1 / 15 / speed, self.publish_images)
        self.node.create_timer(1 / 50 / speed, self.publish_joints)
        self.node.create_timer(1 / 10 / speed, self.publish_driver)
        if clock_speed:
            self.node.create_timer(1 / 200 / speed, self.publish_clock)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._closing = False
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self):
        while not self._closing:
            self._executor.spin_once(timeout_sec=0.1)

    def close(self):
        self._closing = True
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def wait_until_healthy(self):
        eventually(
            lambda: self.beats and self.beats[-1].healthy,
            lambda: f"the policy is healthy; it says: {[beat.reason for beat in self.beats[-3:]]}",
        )

    def reset(self):
        """Ends every task and plays a cell in order again, with a blank record."""
        self.ahead, self.measured = 0.0, [STANDING]
        self.silent, self.mode, self.hold_reason, self.kept = set(), DriverState.POLICY, "", NO_GOAL
        for handle in self._sent:
            self.cancel(handle)
        self._sent.clear()
        self.beats.clear()
        self.wait_until_healthy()
        eventually(lambda: goal_of(self.beats[-1]) == NO_GOAL, "the policy is idle")
        for record in (self.chunks, self.beats, self.diagnostics, self.feedback):
            record.clear()

    def rewind(self):
        """Sets the simulated clock back to its beginning."""
        self._began = time.monotonic()

    def now(self):
        """ns of the clock in use."""
        if self._clock_speed is None:
            return time.time_ns() + round(self.ahead * SECOND)
        return round((1000.0 + self._clock_speed * (time.monotonic() - self._began)) * SECOND)

    def stamp(self, back=0.0):
        return Time(nanoseconds=self.now() - round(back * SECOND)).to_msg()

    def publish_clock(self):
        if "clock" not in self.silent:
            self._clock.publish(Clock(clock=self.stamp()))

    def publish_images(self):
        for view, publisher in self._images.items():
            if view not in self.silent:
                self._image.header.stamp = self.stamp(back=CAPTURE_DELAY)
                if view in self._shown:
                    self._image.data = self._shown[view]
                publisher.publish(self._image)

    def publish_joints(self):
        for position in self.measured if "joints" not in self.silent else ():
            state = JointState(name=SIM.joint_state_names, position=position)
            state.header.stamp = self.stamp()
            self._joints.publish(state)

    def publish_driver(self):
        if "driver" not in self.silent:
            state = DriverState(mode=self.mode, hold_reason=self.hold_reason)
            state.goal_id.uuid = np.frombuffer(self.kept, np.uint8)
            self._driver.publish(state)

    def send(self, instruction="pick up the red cube", max_steps=0):
        """Sends a goal; returns its handle, with the result's future in `ended`, when the node has answered."""
        assert self.client.wait_for_server(DEADLINE), "nobody offers /policy/run_task"
        goal = RunTask.Goal(instruction=instruction, max_steps=max_steps)
        future = self.client.send_goal_async(goal, feedback_callback=lambda m: self.feedback.append(m.feedback))
        eventually(future.done, "the goal is answered")
        handle = future.result()
        if handle.accepted:
            handle.ended = handle.get_result_async()
            self._sent.append(handle)
        return handle

    def result(self, handle):
        """The final status and result of a goal."""
        eventually(handle.ended.done, "the task ends")
        return handle.ended.result().status, handle.ended.result().result

    def cancel(self, handle):
        future = handle.cancel_goal_async()
        eventually(future.done, "the cancel is answered")
        return future.result()

    def wait_for_chunks(self, handle, count):
        """Waits until a task has published so many chunks."""
        eventually(
            lambda: handle.ended.done() or len(self.chunks_of(handle)) >= count,
            lambda: f"{count} chunks are published; newest: {self.feedback[-1:]} {self.beats[-1:]}",
        )
        assert len(self.chunks_of(handle)) >= count, handle.ended.result()

    def chunks_of(self, handle):
        return [chunk for chunk in list(self.chunks) if goal_of(chunk) == goal_of(handle)]

    def first_beat(self, condition):
        return next(filter(condition, list(self.beats)), None)

    def status_of(self, part, level=DiagnosticStatus.OK):
        """The newest diagnostic of one part of the node with this level."""
        found = (status for message in reversed(list(self.diagnostics)) for status in message.status)
        return next((s for s in found if (s.name, s.level) == (f"/policy: {part}", level)), None)

    def trouble(self, part):
        """The message of its newest error."""
        status = self.status_of(part, DiagnosticStatus.ERROR)
        return status.message if status else ""

    def figures(self, part):
        """The values of its newest good diagnostic."""
        status = self.status_of(part)
        return {value.key: value.value for value in status.values} if status else {}


@contextmanager
def second_publisher():
    """Another participant that offers joint states, without ever publishing one."""
    context = Context()
    rclpy.init(context=context)
    node = Node("joint_state_publisher", namespace="bench", context=context)
    try:
        node.create_publisher(JointState, "/joint_states", 10)
        yield
    finally:
        node.destroy_node()
        context.try_shutdown()


class PolicyProcess:
    """The node as a child process; `errors` holds the lines of its stderr."""

    def __init__(self, *ros_arguments, command=("policy_node",), cell=SIM_FILE):
        self.process = subprocess.Popen(
            [*command, "--ros-args", "-p", f"cell:={cell}", *ros_arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors = []
        self._reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr))
        self._reader.start()

    def stop(self, number=signal.SIGINT):
        """Ends the process and returns its exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        """Waits for the end of the process, and returns its exit code."""
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join()
        return code


def parameters(**values):
    return [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]


@contextmanager
def staged(*ros_arguments, clock_speed=None, **process):
    """A played cell and a policy node that finds it in order; the node must end without a trace of trouble."""
    cell, node = PlayedCell(clock_speed), PolicyProcess(*ros_arguments, **process)
    try:
        cell.wait_until_healthy()
        yield cell, node
    finally:
        code = node.stop()
        cell.close()
    assert code == 0, "".join(node.errors)
    assert not any("Traceback" in line for line in node.errors), "".join(node.errors)


@pytest.fixture(scope="class")
def shared():
    with staged() as (cell, _):
        yield cell


class TestRunningNode:
    """One node for all tests that leave it idle."""

    @pytest.fixture
    def cell(self, shared):
        shared.reset()
        yield shared
        shared.reset()

    def test_chunks_at_the_control_rate(self, cell):
        task = cell.send()
        cell.wait_for_chunks(task, 40)
        cell.cancel(task)
        assert cell.result(task)[0] == GoalStatus.STATUS_CANCELED
        chunks = cell.chunks_of(task)
        starts = np.array([ns(chunk.inference_start) for chunk in chunks]) / SECOND
        # On a busy machine ticks come late or never; the grid of 0.1 s they belong to does not drift.
        assert np.percentile(np.diff(starts), 25) == pytest.approx(0.1, abs=0.015)
        assert np.abs(np.exp(2j * np.pi * starts / 0.1).mean()) > 0.7
        first = chunks[0].sequence
        assert [chunk.sequence for chunk in chunks] == list(range(first, first + len(chunks)))

    def test_every_field_of_a_chunk(self, cell):
        task = cell.send()
        cell.wait_for_chunks(task, 10)
        cell.cancel(task)
        for chunk in cell.chunks_of(task):
            stamps = [ns(stamp) for stamp in chunk.image_stamps]
            assert ns(chunk.header.stamp) == min(stamps)
            assert chunk.header.frame_id == SIM.arm.base_frame
            assert chunk.trajectory.header == chunk.header
            assert chunk.cameras == VIEWS
            assert chunk.trajectory.joint_names == SIM.arm.joint_names
            due = [point.time_from_start for point in chunk.trajectory.points]
            assert [ns(each) for each in due] == [(k + 1) * SECOND // 10 for k in range(8)]
            positions = np.array([point.positions for point in chunk.trajectory.points])
            assert positions.shape == (8, 7)
            assert np.abs(positions - SIM.arm.home).max() < 0.5
            assert len(chunk.gripper_width) == 8
            assert ns(chunk.inference_start) < ns(chunk.inference_end)
            for stamp in stamps:
                age = (ns(chunk.inference_start) - stamp) / SECOND
                assert CAPTURE_DELAY - 0.005 < age <= SIM.inputs.max_image_age

    def test_the_heartbeat_announces_the_goal_before_its_chunks(self, cell):
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        cell.cancel(task)
        eventually(lambda: goal_of(cell.beats[-1]) == NO_GOAL, "the heartbeat is without goal")
        goals = [goal_of(beat) for beat in cell.beats]
        announced = next(beat for beat in cell.beats if goal_of(beat) == goal_of(task))
        assert ns(announced.header.stamp) < ns(cell.chunks[0].inference_end)
        assert set(goals) == {NO_GOAL, goal_of(task)}
        assert sum(a != b for a, b in pairwise(goals)) == 1 + (goals[0] == NO_GOAL)
        beats = np.array([ns(beat.header.stamp) for beat in cell.beats]) / SECOND
        assert np.median(np.diff(beats)) <= 0.06

    def test_a_canceled_task_is_over_at_once_and_another_can_follow(self, cell):
        first = cell.send("pick up the red cube")
        cell.wait_for_chunks(first, 5)
        assert len(cell.cancel(first).goals_canceling) == 1
        second = cell.send("press the button")
        cell.wait_for_chunks(second, 5)
        cell.cancel(second)
        status, result = cell.result(first)
        assert status == GoalStatus.STATUS_CANCELED
        assert result.outcome == RunTask.Result.CANCELED
        assert result.chunks == len(cell.chunks_of(first))
        last_served = max(index for index, beat in enumerate(cell.beats) if goal_of(beat) == goal_of(first))
        cleared = ns(cell.beats[last_served + 1].header.stamp)
        assert all(ns(chunk.inference_end) <= cleared for chunk in cell.chunks_of(first))
        goals = [goal_of(chunk) for chunk in cell.chunks]
        assert goals == sorted(goals, key=[goal_of(first), goal_of(second)].index)
        sequences = [chunk.sequence for chunk in cell.chunks]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))

    def test_a_task_that_a_person_takes_over_from_goes_on_inferring(self, cell):
        task = cell.send()
        cell.wait_for_chunks(task, 3)
        cell.kept = goal_of(task)
        for mode in (DriverState.TELEOP, DriverState.HOLD, DriverState.POLICY):
            cell.mode = mode
            time.sleep(0.3)  # three of the driver's states
            cell.wait_for_chunks(task, len(cell.chunks_of(task)) + 3)
        assert goal_of(cell.beats[-1]) == goal_of(task)
        cell.mode, cell.kept = DriverState.TELEOP, NO_GOAL
        assert cell.result(task)[1].outcome == RunTask.Result.ABORTED

    def test_one_task_at_a_time(self, cell):
        first = cell.send()
        assert not cell.send("another").accepted
        cell.cancel(first)
        assert cell.result(first)[1].outcome == RunTask.Result.CANCELED

    def test_the_step_limit_ends_a_task(self, cell):
        task = cell.send(max_steps=10)
        status, result = cell.result(task)
        assert status == GoalStatus.STATUS_SUCCEEDED
        assert result.outcome == RunTask.Result.STEP_LIMIT
        assert 1 <= result.chunks <= 10 <= result.steps
        eventually(lambda: len(cell.chunks_of(task)) == result.chunks, "all chunks have arrived")
        assert [f.chunk_sequence for f in cell.feedback if f.waiting_for == ""][-1] == cell.chunks[-1].sequence

    def test_an_empty_instruction_is_refused(self, cell):
        status, result = cell.result(cell.send("  "))
        assert (status, result.message) == (GoalStatus.STATUS_ABORTED, "the instruction is empty")

    @pytest.mark.parametrize("stale", [*VIEWS, "joints"])
    def test_without_an_input_there_are_no_chunks_and_a_reason(self, cell, stale):
        name = "joint_states" if stale == "joints" else stale
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        cell.silent = {stale}
        why = f"{name}: newest is 0."
        unhealthy = eventually(lambda: cell.first_beat(lambda beat: why in beat.reason), "the heartbeat says why")
        assert not unhealthy.healthy
        eventually(lambda: any(why in feedback.waiting_for for feedback in cell.feedback), "the feedback says why")
        eventually(lambda: why in cell.trouble("inputs"), "it is on /diagnostics")
        last = cell.chunks[-1].sequence
        cell.silent = set()
        eventually(lambda: cell.chunks[-1].sequence > last + 2, "chunks flow again")
        eventually(lambda: cell.beats[-1].healthy, "the heartbeat is healthy again")
        cell.cancel(task)
        sequences = [chunk.sequence for chunk in cell.chunks]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        for chunk in cell.chunks:
            assert ns(chunk.inference_start) - ns(chunk.header.stamp) <= SIM.inputs.max_image_age * SECOND

    def test_nonsense_among_the_joint_states_is_named_and_not_believed(self, cell):
        cell.measured = [ELSEWHERE, STANDING]
        task = cell.send()
        cell.wait_for_chunks(task, 5)
        warned = eventually(lambda: cell.status_of("inputs", DiagnosticStatus.WARN), "it is on /diagnostics")
        assert warned.message.endswith("the last: fr3_joint4 at 1e+300 rad, allowed -3.248 to 0.0542")
        assert int({value.key: value.value for value in warned.values}["joint_states_out_of_range"]) > 0
        eventually(lambda: cell.beats[-1].healthy, "the heartbeat is healthy all the same")
        cell.cancel(task)
        for chunk in cell.chunks_of(task):
            positions = np.array([point.positions for point in chunk.trajectory.points])
            assert np.abs(positions - SIM.arm.home).max() < 0.5

    def test_while_only_nonsense_comes_there_are_no_chunks_and_it_is_the_reason(self, cell):
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        cell.measured = [ELSEWHERE]
        why = "joint_states: the last to arrive is not believed: fr3_joint4 at 1e+300 rad, allowed -3.248 to 0.0542"
        eventually(
            lambda: cell.first_beat(lambda beat: beat.reason == why and not beat.healthy), "the heartbeat says why"
        )
        eventually(lambda: any(feedback.waiting_for == why for feedback in cell.feedback), "the feedback says why")
        eventually(lambda: cell.trouble("inputs") == why, "it is on /diagnostics")
        last = cell.chunks[-1].sequence
        cell.measured = [STANDING]
        eventually(lambda: cell.chunks[-1].sequence > last + 2, "chunks flow again")
        eventually(lambda: cell.beats[-1].healthy, "the heartbeat is healthy again")
        cell.cancel(task)

    def test_while_there_is_a_second_publisher_of_the_joint_states_nothing_moves(self, cell):
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        why = "/joint_states is published by /bench/joint_state_publisher and /played_cell: stop one ("
        with second_publisher():
            eventually(
                lambda: cell.first_beat(lambda beat: beat.reason.startswith(why) and not beat.healthy),
                lambda: f"the heartbeat says why; it says {cell.beats[-1:]}",
            )
            last = cell.chunks[-1].sequence
            eventually(lambda: any(why in feedback.waiting_for for feedback in cell.feedback), "the feedback says why")
            eventually(lambda: why in cell.trouble("inputs"), "it is on /diagnostics")
            cell.cancel(task)
            status, result = cell.result(cell.send())
            assert (status, result.chunks) == (GoalStatus.STATUS_ABORTED, 0)
            assert result.message.startswith(why)
            cell.beats.clear()
            eventually(lambda: len(cell.beats) >= 30, "time passes")
            assert {beat.healthy for beat in cell.beats} == {False}
            assert cell.chunks[-1].sequence <= last + 1  # one may have been under way
        eventually(lambda: cell.beats[-1].healthy, "the heartbeat is healthy again")
        again = cell.send(max_steps=5)
        assert cell.result(again)[1].outcome == RunTask.Result.STEP_LIMIT

    def test_a_robot_whose_clock_is_ahead_gets_no_chunks_of_old_images(self, cell):
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        cell.ahead = 0.2
        why = "clocks differ by 2"
        eventually(
            lambda: cell.first_beat(lambda beat: why in beat.reason and not beat.healthy), "the heartbeat says why"
        )
        eventually(lambda: any(why in feedback.waiting_for for feedback in cell.feedback), "the feedback says why")
        eventually(lambda: why in cell.trouble("inputs"), "it is on /diagnostics")
        cell.beats.clear()
        eventually(lambda: len(cell.beats) >= 30, "time passes")
        assert {beat.healthy for beat in cell.beats} == {False}
        last = cell.chunks[-1].sequence
        cell.ahead = 0.0
        eventually(lambda: cell.chunks[-1].sequence > last, "chunks flow again")
        cell.cancel(task)

    def test_a_driver_in_hold_aborts_a_new_task_with_the_remedy(self, cell):
        cell.mode, cell.hold_reason = DriverState.HOLD, "user stop"
        cell.publish_driver()
        cell.result(cell.send())  # from here on the policy knows of the HOLD
        cell.beats.clear()
        status, result = cell.result(cell.send())
        assert status == GoalStatus.STATUS_ABORTED
        assert result.outcome == RunTask.Result.ABORTED
        assert result.message == "driver is in HOLD (user stop): call /franka_driver/set_mode with POLICY first"
        assert result.chunks == 0
        assert {goal_of(beat) for beat in cell.beats} == {NO_GOAL}

    def test_a_goal_may_overtake_the_news_that_the_driver_is_armed(self, cell):
        def armed_just_after():
            cell.mode = DriverState.HOLD
            cell.publish_driver()
            cell.feedback.clear()
            task = cell.send()
            eventually(lambda: cell.feedback or task.ended.done(), "the policy knows of the HOLD")
            cell.mode = DriverState.POLICY
            cell.publish_driver()
            eventually(lambda: cell.chunks_of(task) or task.ended.done(), "the task runs")
            return task if cell.chunks_of(task) else None

        task = eventually(armed_just_after, "a goal finds the driver armed within the time of grace")
        cell.cancel(task)

    def test_hold_during_a_task_aborts_it(self, cell):
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        cell.mode, cell.hold_reason = DriverState.HOLD, "reflex: joint_velocity_violation"
        status, result = cell.result(task)
        assert status == GoalStatus.STATUS_ABORTED
        assert result.message.startswith("driver is in HOLD (reflex: joint_velocity_violation): call ")
        eventually(lambda: goal_of(cell.beats[-1]) == NO_GOAL, "the goal is off the heartbeat")
        cell.mode = DriverState.POLICY
        cell.publish_driver()
        again = cell.send(max_steps=5)
        assert cell.result(again)[1].outcome == RunTask.Result.STEP_LIMIT
        assert result.chunks == len(cell.chunks_of(task))

    def test_a_silent_driver_aborts_the_task(self, cell):
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        cell.silent = {"driver"}
        assert cell.result(task)[1].message.startswith("driver is silent: nothing on /franka_driver/state")
        assert cell.result(cell.send())[1].message.startswith("driver is silent")

    def test_diagnostics_of_a_running_task(self, cell):
        task = cell.send()
        eventually(lambda: "rate_hz" in cell.figures("inference"), "the rate is reported")
        assert {"inference_ms_p50", "inference_ms_p95", "ticks_missed"} <= cell.figures("inference").keys()
        assert cell.status_of("inference").message == "task 'pick up the red cube': live"
        ages = {f"{name}_age_s" for name in (*VIEWS, "joint_states")}
        counts = {f"joint_states_{kind}" for kind in ("missing_joint", "not_finite", "out_of_range")}
        eventually(lambda: cell.status_of("inputs"), "the inputs are good, and what another test did to them is past")
        assert cell.figures("inputs").keys() == ages | counts
        cell.cancel(task)


def test_sigterm_in_a_task_takes_leave_of_the_driver():
    with staged() as (cell, node):
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        assert node.stop(signal.SIGTERM) == 0
        assert cell.result(task)[1].message == "the policy node is shutting down"
        eventually(lambda: goal_of(cell.beats[-1]) == NO_GOAL, "the goal is off the heartbeat")


def test_a_policy_whose_callback_fails_takes_leave_of_the_driver_and_ends():
    cell, node = PlayedCell(), PolicyProcess(command=(sys.executable, program("policy_easily_scared")))
    try:
        cell.wait_until_healthy()
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        cell.hold_reason = "boo"
        assert node.process.wait(DEADLINE) == 1
        eventually(lambda: goal_of(cell.beats[-1]) == NO_GOAL, "the goal is off the heartbeat")
    finally:
        node.process.kill()
        node._reader.join()
        cell.close()
    assert any("RuntimeError: out of ideas" in line for line in node.errors)


def test_a_system_clock_that_is_set_ends_the_task_and_what_was_seen_before_is_forgotten():
    with staged(command=(sys.executable, program("policy_whose_clock_is_set"))) as (cell, node):
        cell.wait_until_healthy()
        task = cell.send()
        cell.wait_for_chunks(task, 1)
        cell.beats.clear()
        cell.hold_reason = "set the clock back"
        status, result = cell.result(task)
        why = "the system's clock was set back by 2.00 s: have chrony slew it, not step it, while the robot runs"
        assert (status, result.message) == (GoalStatus.STATUS_ABORTED, why)
        (ended,) = [k for k, beat in enumerate(cell.beats) if why in beat.reason][:1]
        assert not any(beat.healthy or goal_of(beat) != NO_GOAL for beat in cell.beats[ended : ended + 10])
        cell.reset()  # once what was under way has arrived, all is well again
        cell.wait_for_chunks(cell.send(), 1)
        assert any(why in line for line in node.errors)


def test_a_policy_that_hangs_or_fails_is_unhealthy_until_it_recovers():
    with staged(command=(sys.executable, program("policy_in_trouble"))) as (cell, _):
        cell.beats.clear()
        cell.send()
        eventually(lambda: len(cell.chunks) >= 25, "the policy is over its troubles")
        reasons = " | ".join(beat.reason for beat in cell.beats if not beat.healthy)
        assert "inference has been running for 0." in reasons
        assert "RuntimeError: out of ideas" in reasons
        assert any(feedback.waiting_for == "the policy failed: out of ideas" for feedback in cell.feedback)
        eventually(lambda: cell.beats[-1].healthy, "the heartbeat is healthy again")
        sequences = [chunk.sequence for chunk in cell.chunks]
        assert sequences == list(range(1, len(sequences) + 1))


SLOW = "a chunk takes {} s on cpu, limit {} s: use a GPU (device:=cuda), more threads (threads:=N) or a smaller policy"


def too_slow_by(seconds):
    return PolicyProcess(*parameters(device="cpu"), command=(sys.executable, program("policy_too_slow"), str(seconds)))


def test_a_policy_whose_chunk_is_over_before_the_next_is_there_does_not_start():
    node = too_slow_by(1.0)
    assert node.ended() == 2
    (said,) = (line for line in node.errors if not line.startswith("["))
    assert said.startswith("policy_node: ")
    took, limit = re.search(re.escape(SLOW).replace(r"\{\}", r"([\d.]+)"), said).groups()
    assert float(took) >= 1.0
    assert limit == "0.8"


def test_a_policy_too_slow_for_the_heartbeat_is_at_no_time_ready():
    cell, node = PlayedCell(), too_slow_by(0.4)
    try:
        eventually(
            lambda: len(cell.beats) >= 60, "three rehearsals pass", DEADLINE
        )  # between them it has nothing to do
        assert not [beat for beat in cell.beats if beat.healthy]
        said = re.compile(re.escape(SLOW).replace(r"\{\}", r"0\.\d+"))
        assert [beat for beat in cell.beats if said.fullmatch(beat.reason)]
        eventually(lambda: said.fullmatch(cell.trouble("inference")), "it is on /diagnostics")
        cell.send()
        eventually(lambda: len(cell.beats) >= 80, "a task changes nothing")
        assert not [beat for beat in cell.beats if beat.healthy]
    finally:
        assert node.stop() == 0
        cell.close()


def test_an_instruction_that_takes_long_to_encode_delays_a_task_and_alarms_nobody():
    with staged(command=(sys.executable, program("policy_slow_to_read"))) as (cell, _):
        cell.reset()
        task = cell.send()
        cell.wait_for_chunks(task, 5)
        cell.cancel(task)
        assert "the text encoder: this instruction is new to it" in {f.waiting_for for f in cell.feedback}
        before = [beat for beat in cell.beats if ns(beat.header.stamp) < ns(cell.chunks[0].inference_start)]
        assert ns(before[-1].header.stamp) - ns(before[0].header.stamp) > 0.9 * SECOND
        assert not [beat.reason for beat in before if "inference" in beat.reason]
        riddle = cell.send("a riddle")
        why = "RuntimeError: out of words"
        eventually(lambda: any(why == feedback.waiting_for for feedback in cell.feedback), "the feedback says why")
        eventually(lambda: cell.first_beat(lambda beat: beat.reason == why), "the heartbeat says why")
        cell.cancel(riddle)
        eventually(lambda: cell.beats[-1].healthy, "the failure is over with its task")


def test_a_replay_in_simulated_time():
    with staged(*parameters(use_sim_time="true"), clock_speed=0.5) as (cell, _):
        status, result = cell.result(cell.send(max_steps=20))
        assert status == GoalStatus.STATUS_SUCCEEDED
        assert result.chunks >= 5
        eventually(lambda: len(cell.chunks) == result.chunks, "all chunks have arrived")
        starts = np.array([ns(chunk.inference_start) for chunk in cell.chunks]) / SECOND
        assert 1000.0 < starts[0] < starts[-1] < cell.now() / SECOND
        assert np.median(np.diff(starts)) == pytest.approx(0.1, abs=0.015)
        for chunk in cell.chunks:
            assert ns(chunk.header.stamp) == min(ns(stamp) for stamp in chunk.image_stamps)
        interrupted = cell.send()
        cell.wait_for_chunks(interrupted, 1)
        cell.rewind()
        assert cell.result(interrupted)[1].message == "the clock was set back"
        cell.reset()
        again = cell.send(max_steps=5)
        assert cell.result(again)[0] == GoalStatus.STATUS_SUCCEEDED
        cell.silent = {"clock"}
        eventually(
            lambda: len(cell.beats) > 1 and cell.beats[-1].header == cell.beats[-2].header, "the clock stands still"
        )
        cell.beats.clear()
        eventually(lambda: len(cell.beats) >= 20, "the heart beats nevertheless")


def test_other_cameras_can_fill_the_views():
    cell, node = PlayedCell(), PolicyProcess(*parameters(views="[fixed_2,wrist]"))
    try:
        eventually(
            lambda: cell.first_beat(lambda beat: beat.reason == "fixed_2: nothing received"), "fixed_2 is missed"
        )
    finally:
        assert node.stop() == 0
        cell.close()


def test_a_camera_that_moved_is_named_and_where_asked_no_task_begins(tmp_path):
    strict = tmp_path / "cell.yaml"
    strict.write_text(SIM_FILE.read_text() + "\ninputs: {changed_view: refuse}\n")
    seen = {view.name: np.ascontiguousarray(view.picture) for view in References.load(locate("nano") / "views")}
    fixed, wrist = VIEWS
    pictures = {fixed: np.ascontiguousarray(np.roll(seen[fixed], 6, axis=1)), wrist: seen[wrist]}
    cell, node = PlayedCell(pictures=pictures), PolicyProcess(*parameters(checkpoint=locate("nano")), cell=strict)
    cell.measured = [[*SIM.arm.home, SIM.gripper.max_width / 2]]
    try:
        eventually(lambda: cell.status_of("views", DiagnosticStatus.WARN), "the views are compared")
        said = cell.status_of("views", DiagnosticStatus.WARN)
        assert f"{fixed}: moved" in said.message
        assert {value.key: value.value for value in said.values}[wrist] == f"{wrist}: unmoved"
        status, result = cell.result(cell.send())
        assert status == GoalStatus.STATUS_ABORTED
        assert f"a view is not what the policy was trained on: {fixed}: moved" in result.message
        assert not cell.chunks
    finally:
        assert node.stop() == 0
        cell.close()


def test_images_may_come_uncompressed():
    cell, node = PlayedCell(raw=True), PolicyProcess(*parameters(image_transport="raw"))
    try:
        cell.wait_until_healthy()
        handle = cell.send(max_steps=5)
        assert cell.result(handle)[0] == GoalStatus.STATUS_SUCCEEDED
        assert cell.chunks_of(handle)
    finally:
        assert node.stop() == 0
        cell.close()
