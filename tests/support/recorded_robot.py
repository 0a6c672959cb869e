"""A robot of publishers and services that the recorder and a session can tell from none, and the recorder's process."""

import subprocess
import threading
import time
from pathlib import Path

import pytest
import rclpy
from ament_index_python.packages import get_package_prefix
from rclpy.action import ActionServer
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, JointState
from std_srvs.srv import Trigger

from support.cells import SIM, SIM_FILE
from support.waiting import eventually
from vga_msgs.action import Home, Recover
from vga_msgs.msg import DriverState, GripperState, RecorderState, RobotReference
from vga_msgs.srv import SetMode, StartEpisode, StopEpisode

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RECORDER = Path(get_package_prefix("vga_teleop"), "lib", "vga_teleop", "recorder_node")
LEADER = "/gello/joint_states"


def launch_recorder(directory, cell=SIM_FILE):
    """The recorder node as a process."""
    return subprocess.Popen(
        [RECORDER, "--ros-args", "-p", f"cell:={cell}", "-p", f"directory:={directory}"],
        stderr=subprocess.PIPE,
        text=True,
    )


def done_within(future, seconds):
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return done.wait(seconds)


class Robot:
    """Publishes what an episode needs, at 20 Hz from a thread, and calls the recorder. `silent`: topics left out."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("robot", context=self.context)
        self.names = SIM.arm.joint_names
        self.stamps = {}  # topic: header stamps published, ns
        self.silent = {LEADER}
        self.state = None
        self.requests = []  # modes and actions asked of the driver
        self.refusal = ""  # of TELEOP
        self.held = 0.0  # opening around what the hand holds, m; 0: nothing
        self._outlets = {
            f"/cameras/{camera.name}/color/image_raw/compressed": (CompressedImage, qos_profile_sensor_data)
            for camera in SIM.cameras
        }
        self._outlets |= {
            "/joint_states": (JointState, 10),
            "/franka_driver/reference": (RobotReference, 10),
            LEADER: (JointState, 10),
        }
        self._publishers = {
            name: self.node.create_publisher(kind, name, qos) for name, (kind, qos) in self._outlets.items()
        }
        self._latched = self.node.create_publisher(DriverState, "/franka_driver/state", LATCHED)
        self.drive(DriverState.HOLD, "just started")
        self._hand = self.node.create_publisher(GripperState, "/franka_driver/gripper_state", 10)
        self.node.create_service(Trigger, "/franka_driver/open_hand", self._open)
        self.node.create_subscription(RecorderState, "/recorder/state", self._on_state, LATCHED)
        self.node.create_service(SetMode, "/franka_driver/set_mode", self._set_mode)
        waiting = ReentrantCallbackGroup()
        self._actions = [
            ActionServer(self.node, kind, f"/franka_driver/{name}", execute, callback_group=waiting)
            for name, kind, execute in (("home", Home, self._home), ("recover", Recover, self._recover))
        ]
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
        for server in self._actions:
            server.destroy()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    # As the driver.

    def drive(self, mode, hold_reason=""):
        state = DriverState(mode=mode, hold_reason=hold_reason, connected=True, at_rest=mode == DriverState.HOLD)
        self._latched.publish(state)

    def _set_mode(self, request, response):
        self.requests.append(request.mode)
        response.success = request.mode == SetMode.Request.HOLD or not self.refusal
        response.message, self.refusal = self.refusal, ""
        if response.success:
            self.drive(request.mode, "requested" if request.mode == SetMode.Request.HOLD else "")
        return response

    def _open(self, _, response):
        self.requests.append("open")
        self.held = 0.0
        response.success = True
        return response

    def _home(self, goal):
        self.requests.append("home")
        goal.succeed()
        return Home.Result(success=True)

    def _recover(self, goal):
        self.requests.append("recover")
        goal.succeed()
        return Recover.Result(success=True)

    # As whoever uses the recorder.

    def start(self, task="pick"):
        return self._call(self._start, StartEpisode.Request(task=task, instruction="pick it up", operator_name="Ada"))

    def stop(self):
        return self._call(self._stop, StopEpisode.Request(outcome="success"))

    def call(self, kind, name):
        client = self.node.create_client(kind, name)
        return self._call(client, kind.Request())

    def heard(self):
        """Whether everything it publishes is subscribed to."""
        return all(publisher.get_subscription_count() for publisher in self._publishers.values())

    def start_when_possible(self):
        return eventually(lambda: (response := self.start()).success and response)

    def _call(self, client, request):
        assert client.wait_for_service(20)
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:  # a killed server may still be taken for alive, and never answers
            future = client.call_async(request)
            if done_within(future, 3.0):
                return future.result()
        pytest.fail(f"{client.srv_name} does not answer")

    def _on_state(self, state):
        self.state = state

    def _publish(self):
        width, grasped = self.held or 0.08, self.held > 0
        commanded = 0.0 if grasped else width
        hand = GripperState(width=width, max_width=0.08, commanded_width=commanded, is_grasped=grasped)
        self._hand.publish(hand)
        for name in self._outlets.keys() - self.silent:
            message = self._outlets[name][0]()
            if name == LEADER:
                message.name, message.position = list(self.names), [0.0] * len(self.names)
            if name == "/franka_driver/reference":
                message.joint_names = list(self.names)
            now = self.node.get_clock().now()
            message.header.stamp = now.to_msg()
            self.stamps.setdefault(name, []).append(now.nanoseconds)
            self._publishers[name].publish(message)
