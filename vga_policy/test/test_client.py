"""The client of the graph where there is no graph, and beside a recorder that refuses."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from vga_policy.cell.loading import load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.message_constants import Mode
from vga_policy.ros import client
from vga_policy.ros.client import (
    DriverClient,
    GraphError,
    PolicyClient,
    Readiness,
    RecorderClient,
    RefusedError,
    SceneClient,
    Session,
    wait_until_steady,
)

from vga_msgs.msg import DriverState, PolicyHeartbeat
from vga_msgs.srv import SetMode, StartEpisode

pytestmark = pytest.mark.usefixtures("ros_domain")


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr("vga_policy.ros.client.session.ANSWER_WITHIN", 0.2)
    with Session("lonely") as session:
        yield session


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (lambda session: DriverClient(session).hold(), "/franka_driver/set_mode"),
        (lambda session: DriverClient(session).stop(), "/franka_driver/stop"),
        (lambda session: DriverClient(session).home(), "/franka_driver/home"),
        (lambda session: DriverClient(session).open(), "/franka_driver/open_hand"),
        (lambda session: PolicyClient(session).run("pick it up"), "/policy/run_task"),
        (lambda session: RecorderClient(session).start("pick"), "/recorder/start"),
        (lambda session: SceneClient(session).arrange("pick_cube", 0), "/sim_cell/arrange"),
    ],
)
def test_without_a_graph_every_request_says_who_is_missing(session, request_, name):
    with pytest.raises(GraphError, match=f"^nobody offers {name}: is it running, on this ROS_DOMAIN_ID"):
        request_(session)


def test_what_is_silent_has_no_state(session):
    driver, recorder, scene = DriverClient(session), RecorderClient(session), SceneClient(session)
    assert (driver.state, driver.mode, recorder.state, scene.state, scene.offered) == (None, None, None, None, False)
    with pytest.raises(GraphError, match=r"^/sim_cell/task_state is silent$"):
        scene.judged()
    with pytest.raises(GraphError, match=r"^no task has been started$"):
        PolicyClient(session).cancel()


def test_waiting_for_a_graph_that_does_not_come_names_what_is_missing(session):
    seen = []
    with pytest.raises(GraphError) as raised:
        wait_until_steady(session, load_cell(cell_path("sim")), seen.append, within=0.3)
    missing = "camera wrist, camera fixed_1, camera fixed_2, joint states, robot connection, policy"
    assert sorted(str(raised.value).removeprefix("not ready within 0.3 s, missing: ").split(", ")) == sorted(
        missing.split(", ")
    )
    assert seen[0] == seen[-1]


def test_a_namespace_is_another_robot(monkeypatch):
    monkeypatch.setattr("vga_policy.ros.client.session.ANSWER_WITHIN", 0.2)
    with Session("lonely", "left") as session, pytest.raises(GraphError, match=r"^nobody offers /left/franka_driver/"):
        DriverClient(session).home()


class Recorder:
    """Refuses the first `refusals` requests to start."""

    def __init__(self):
        self.refusals, self.requests = 0, []
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("recorder", context=self._context)
        self._node.create_service(StartEpisode, "recorder/start", self._start)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def close(self):
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _start(self, request, response):
        self.requests.append((request.task, request.instruction, request.operator_name))
        response.success = len(self.requests) > self.refusals
        response.message, response.path = "/joint_states is silent", "/episodes/one"
        return response


@pytest.fixture
def recorder():
    recorder = Recorder()
    yield recorder
    recorder.close()


def test_a_recorder_that_refuses_is_asked_again_as_long_as_told(session, recorder, monkeypatch):
    monkeypatch.setattr("vga_policy.ros.client.session.ANSWER_WITHIN", 10.0)
    monkeypatch.setattr("vga_policy.ros.client.recorder.PAUSE", 0.01)
    recorder.refusals, asked = 2, RecorderClient(session)
    with pytest.raises(RefusedError, match=r"^the recorder refuses to start: /joint_states is silent$") as raised:
        asked.start("pick", "pick it up", "Ada")
    assert raised.value.reason == "/joint_states is silent"
    assert asked.start("pick", "pick it up", "Ada", within=10.0) == Path("/episodes/one")
    assert recorder.requests == [("pick", "pick it up", "Ada")] * 3

    def end():
        raise GraphError("interrupted")

    recorder.refusals = 9
    with pytest.raises(GraphError, match=r"^interrupted$"):
        asked.start("pick", within=10.0, check=end)
    assert len(recorder.requests) == 4


def test_ros_is_imported_with_the_first_client_only():
    code = (
        "import sys, vga_policy.ros.client as c; assert 'rclpy' not in sys.modules; c.Session; print(sorted(c.__all__))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == str(sorted(client.__all__))
    assert all(getattr(client, name).__doc__ for name in client.__all__)


class Forgetful:
    """A node whose services answer the first request after 3 s, every later one at once."""

    def __init__(self):
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.asked = []
        self.node = rclpy.create_node("forgetful", context=self._context)
        group = ReentrantCallbackGroup()
        self.node.create_service(Trigger, "/franka_driver/stop", self._answer, callback_group=group)
        self.node.create_service(SetMode, "/franka_driver/set_mode", self._answer, callback_group=group)
        self._ended = threading.Event()
        self._executor = MultiThreadedExecutor(3, context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _answer(self, request, response):
        self.asked.append(request)
        if len(self.asked) == 1:
            self._ended.wait(3.0)
        response.success, response.message = True, f"{len(self.asked)} requests"
        return response

    def close(self):
        self._ended.set()
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def forgetful():
    node = Forgetful()
    yield node
    node.close()


def test_a_stop_is_asked_for_again_when_the_answer_is_lost(forgetful):
    with Session("stopper") as session:
        assert DriverClient(session).stop() == "2 requests"


def test_arming_is_asked_for_once(forgetful):
    """A stop in between would be undone."""
    with Session("arming") as session:
        DriverClient(session)._set_mode(Mode.POLICY)
    assert len(forgetful.asked) == 1


class Parts:
    """A cell of publishers, all that a policy needs but cameras. rehearsal_ms: what its policy says of itself."""

    def __init__(self):
        self.rehearsal_ms = None
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("parts", context=self._context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._node.create_publisher(DriverState, "/franka_driver/state", latched).publish(DriverState(connected=True))
        self._joints = self._node.create_publisher(JointState, "/joint_states", 10)
        self._leader = self._node.create_publisher(JointState, "/gello/joint_states", 10)
        self._beat = self._node.create_publisher(PolicyHeartbeat, "/policy/heartbeat", 10)
        self._diagnostics = self._node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._node.create_timer(0.02, self._publish)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def _publish(self):
        for publisher in (self._joints, self._leader):
            publisher.publish(JointState())
        self._beat.publish(PolicyHeartbeat(healthy=True))
        if self.rehearsal_ms is not None:
            figures = [KeyValue(key="rehearsal_ms", value=self.rehearsal_ms)]
            status = DiagnosticStatus(name="/policy: inference", values=figures)
            self._diagnostics.publish(DiagnosticArray(status=[status]))

    def close(self):
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


def test_a_graph_is_ready_when_what_it_runs_is():
    cell = load_cell(cell_path("sim"))
    cell = cell.model_copy(update={"cameras": []})
    parts = Parts()
    try:
        with Session("observer") as session:

            def lacks(readiness, *expected):
                session.spin_until(lambda: readiness.missing() == list(expected), 10.0)
                assert readiness.missing() == list(expected)

            lacks(Readiness(session, cell, nodes=("sim_cell", "wrist", "franka_driver", "gello")))
            lacks(Readiness(session, cell, nodes=("recorder",)), "recorder")
            lacks(Readiness(session, cell))
            policy = Readiness(session, cell, in_time=True)
            lacks(policy, "policy (rehearsing)")
            parts.rehearsal_ms = "350"
            slow = "policy (too slow: a chunk takes it 350 ms, and 10 Hz leave 100 ms; "
            lacks(policy, f"{slow}a GPU, a faster machine or a smaller model is needed)")
            parts.rehearsal_ms = "35.2"
            lacks(policy)
    finally:
        parts.close()


def test_trouble_that_leaves_a_session_is_put_down_to_busy_processors(monkeypatch):
    monkeypatch.setattr("vga_policy.ros.client.session.LATE", -1.0)  # as if they were
    with pytest.raises(GraphError) as raised, Session("busy"):
        raise GraphError("the driver is silent")
    reason, machine = str(raised.value).splitlines()
    assert reason == "the driver is silent"
    assert "% busy, too much for images and chunks to be on time: stop what else runs here" in machine
