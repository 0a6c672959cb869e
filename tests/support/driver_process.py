"""The driver node in a process of its own, and an outside ROS node that plays operator and policy."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectoryPoint
from vga_policy.cell.loading import dump_cell
from vga_policy.ros.messages import time_message

from support.waiting import eventually
from vga_msgs import action, msg, srv

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
HOLD, TELEOP, POLICY = 0, 1, 2
ACTIONS = {"home": action.Home, "recover": action.Recover, "gripper_homing": action.GripperHoming}


class DriverProcess:
    """`franka_driver_node` with a cell. Kill it, interrupt it, start it again."""

    def __init__(self, directory, cell=None, *ros_arguments):
        self._arguments = [argument for pair in ros_arguments for argument in ("-p", pair)]
        if cell is not None:
            path = directory / "cell.yaml"
            path.write_text(dump_cell(cell))
            self._arguments += ["-p", f"cell:={path}"]
        self._errors = directory / "stderr.txt"
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "vga_bringup.nodes.franka_driver_node", "--ros-args", *self._arguments]
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(command, stderr=errors, stdout=errors)

    @property
    def printed(self):
        """What it has printed so far."""
        return self._errors.read_text()

    def signal(self, number, again=False):
        """Sends a signal, perhaps again and again, and waits for the end: exit code, seconds taken, what it printed."""
        started = time.monotonic()
        self.process.send_signal(number)
        while again and self.process.poll() is None and time.monotonic() < started + 10.0:
            time.sleep(0.02)
            self.process.send_signal(number)
        return self.process.wait(timeout=10.0), time.monotonic() - started, self.printed

    def finish(self):
        """Waits for an end by itself: exit code and what it printed."""
        return self.process.wait(timeout=30.0), self.printed

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Outsider:
    """Sees what the driver publishes, calls its services and actions, sends it heartbeats and chunks."""

    def __init__(self):
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = node = rclpy.create_node("outsider", context=self._context)
        self.joint_states, self.references, self.states = [], [], []
        self.verdicts, self.grippers, self.diagnostics, self.judgements = [], [], {}, {}
        for kind, topic, messages, qos in (
            (JointState, "/joint_states", self.joint_states, 1000),
            (msg.RobotReference, "/franka_driver/reference", self.references, 1000),
            (msg.DriverState, "/franka_driver/state", self.states, LATCHED),
            (msg.ChunkVerdict, "/franka_driver/chunk_verdict", self.verdicts, 1000),
            (msg.GripperState, "/franka_driver/gripper_state", self.grippers, 10),
        ):
            node.create_subscription(kind, topic, messages.append, qos)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._chunk = node.create_publisher(msg.ActionChunk, "/policy/action_chunk", 1000)
        self._heartbeat = node.create_publisher(msg.PolicyHeartbeat, "/policy/heartbeat", 10)
        self._set_mode = node.create_client(srv.SetMode, "/franka_driver/set_mode")
        self._stop = node.create_client(Trigger, "/franka_driver/stop")
        self._open_hand = node.create_client(Trigger, "/franka_driver/open_hand")
        self._actions = {name: ActionClient(node, kind, f"/franka_driver/{name}") for name, kind in ACTIONS.items()}
        self.policies = []
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def go_home(self):
        """Brings the arm home, whatever a test has left; the driver in HOLD, no motion running."""
        self.silence()
        self.stop()
        self.wait_for_state(lambda state: state.mode == HOLD and state.at_rest and state.robot_mode == "idle")
        success, message = self.result(self.send("home", speed_scale=1.0))
        assert success, message
        self.wait_for_state(lambda state: state.robot_mode == "idle")

    def wait_for_state(self, condition, seconds=5.0):
        """Waits for a state of the driver published from now on."""
        seen = len(self.states)
        eventually(lambda: any(map(condition, self.states[seen:])), "the driver's state", seconds)

    def silence(self):
        """Ends every policy that a test left running."""
        while self.policies:
            self.policies[-1].kill()

    def close(self):
        self.silence()
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    @property
    def state(self):
        """The driver's newest state."""
        return self.states[-1]

    def connected(self):
        return bool(self.states) and self.state.connected

    def set_mode(self, mode, keep_goal=False):
        return self._call(self._set_mode, srv.SetMode.Request(mode=mode, keep_goal=keep_goal))

    def stop(self):
        return self._call(self._stop, Trigger.Request())

    def open_hand(self):
        return self._call(self._open_hand, Trigger.Request())

    def send(self, name, **goal):
        """Sends an action goal; returns its handle once accepted."""
        client = self._actions[name]
        assert client.wait_for_server(10.0)
        future = client.send_goal_async(ACTIONS[name].Goal(**goal))
        eventually(future.done, f"acceptance of {name}", 5.0)
        return future.result()

    def result(self, handle, seconds=20.0):
        """The end of an action: (success, message)."""
        future = handle.get_result_async()
        eventually(future.done, "the action's result", seconds)
        return future.result().result.success, future.result().result.message

    def heartbeat(self, goal=bytes(16), healthy=True, reason="", stamp_ns=0):
        message = msg.PolicyHeartbeat(healthy=healthy, reason=reason)
        message.header.stamp = time_message(stamp_ns)
        message.goal_id.uuid = np.frombuffer(goal, np.uint8)
        self._heartbeat.publish(message)

    def publish(self, chunk):
        self._chunk.publish(chunk)

    def _call(self, client, request):
        """Asks again after 2.5 s: a driver that has only just started may lose the answer to a question."""
        assert client.wait_for_service(10.0)
        futures = [client.call_async(request)]
        with suppress(AssertionError):
            eventually(futures[0].done, "an answer", 2.5)
            return futures[0].result()
        futures.append(client.call_async(request))
        eventually(lambda: any(future.done() for future in futures), "an answer", 2.5)
        return next(future.result() for future in futures if future.done())

    def _on_diagnostics(self, array):
        for status in array.status:
            self.judgements[status.name] = status.message
            self.diagnostics[status.name] = {pair.key: pair.value for pair in status.values}


def chunk_message(cell, goal, sequence, t_obs, joints):
    """An action chunk: t_obs in s of the system clock, joints [8, 7] rad."""
    chunk = msg.ActionChunk(sequence=sequence, gripper_width=[0.08] * len(joints))
    chunk.goal_id.uuid = np.frombuffer(goal, np.uint8)
    chunk.header.stamp = time_message(round(t_obs * 1e9))
    chunk.trajectory.joint_names = list(cell.arm.joint_names)
    for step, q in enumerate(joints):
        point = JointTrajectoryPoint(positions=q)
        point.time_from_start.sec, point.time_from_start.nanosec = divmod(round((step + 1) * cell.dt * 1e9), 10**9)
        chunk.trajectory.points.append(point)
    return chunk


class RosPolicy:
    """A sine around home over ROS: 20 heartbeats and 10 chunks a second from a thread; starts where the arm is at home.

    also: called with the policy and a number after every heartbeat, to send more.
    """

    def __init__(self, outsider, cell, goal, amplitude, frequency=0.5, also=lambda policy, count: None):
        self.goal = goal
        self.started = time.time()
        self._outsider, self._cell = outsider, cell
        self._amplitude, self._frequency, self._also = np.array(amplitude), frequency, also
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        outsider.policies.append(self)

    def joints(self, t_obs):
        """The sine at the steps of a chunk observed at t_obs, [8, 7]."""
        times = t_obs - self.started + self._cell.dt * np.arange(1, 9)
        phase = 2 * np.pi * self._frequency * np.maximum(times, 0.0)[:, None]
        return np.array(self._cell.arm.home) + self._amplitude * (1 - np.cos(phase)) / 2

    def chunk(self, sequence, goal=None):
        """A chunk observed 80 ms ago."""
        t_obs = time.time() - 0.08
        return chunk_message(self._cell, goal or self.goal, sequence, t_obs, self.joints(t_obs))

    def kill(self):
        """No message more; the time of death."""
        self._ended.set()
        self._thread.join()
        if self in self._outsider.policies:
            self._outsider.policies.remove(self)
        return time.time()

    def _run(self):
        for count in range(10_000):
            self._outsider.heartbeat(self.goal)
            if count % 2 == 1:  # the heartbeat that announces the goal goes first
                self._outsider.publish(self.chunk(count // 2 + 1))
            self._also(self, count)
            if self._ended.wait(max(0.0, self.started + 0.05 * (count + 1) - time.time())):
                return
