"""The simulated cell as processes: sim_cell and sim_camera, seen from outside through ROS 2."""

import os
import signal
import time

import numpy as np
import pytest
import rclpy
from ament_index_python.packages import get_package_prefix
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage
from support.cells import write_cell
from support.owned import own_address
from support.sim_processes import Process, processes_of, shared_memory
from support.waiting import eventually
from vga_bringup.sim.physics.state import StateReader
from vga_bringup.sim.rendering.frame_ring import FrameReader
from vga_bringup.sim.scene import views
from vga_bringup.sim.tasks.registry import arrange
from vga_policy.cell.loading import load_cell

from vga_msgs.msg import TaskState
from vga_msgs.srv import ArrangeScene

ADDRESS = own_address()
CAMERA = "wrist"
EXECUTABLES = os.path.join(get_package_prefix("vga_bringup"), "lib", "vga_bringup")

pytestmark = pytest.mark.usefixtures("ros_domain")


def executable(name, *parameters):
    arguments = [argument for parameter in parameters for argument in ("-p", parameter)]
    if name == "sim_camera":
        arguments += ["-r", "__ns:=/cameras", "-r", f"__node:={CAMERA}"]
    return Process(os.path.join(EXECUTABLES, name), "--ros-args", *arguments)


class Observer:
    """A ROS node that collects what the camera and the cell publish."""

    def __init__(self):
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("observer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.images, self.infos, self.diagnostics, self.task_states = [], [], [], []
        topic = f"/cameras/{CAMERA}/color"
        self._subscribe(CompressedImage, f"{topic}/image_raw/compressed", self._on_image)
        self._subscribe(CameraInfo, f"{topic}/camera_info", self.infos.append)
        self._subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics)
        self._subscribe(TaskState, "/sim_cell/task_state", self.task_states.append)
        self._client = self._node.create_client(ArrangeScene, "/sim_cell/arrange")

    def _subscribe(self, kind, topic, callback):
        self._node.create_subscription(kind, topic, callback, qos_profile_sensor_data)

    def _on_image(self, image):
        self.images.append((time.time(), Time.from_msg(image.header.stamp).nanoseconds / 1e9, bytes(image.data)))

    def _on_diagnostics(self, array):
        for status in array.status:
            if status.name == "sim_cell: real_time_factor":
                self.diagnostics.append((status, {pair.key: pair.value for pair in status.values}))

    def spin_until(self, condition, what):
        return eventually(condition, what, meanwhile=lambda: self._executor.spin_once(timeout_sec=0.1))

    def arrange(self, task, seed):
        future = self._client.call_async(ArrangeScene.Request(task=task, seed=seed))
        self.spin_until(future.done, "an answer of /sim_cell/arrange")
        return future.result()

    def close(self):
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture(scope="module")
def cell_path(tmp_path_factory):
    return write_cell(tmp_path_factory.mktemp("cell"), ADDRESS)


@pytest.fixture
def observer():
    observer = Observer()
    yield observer
    observer.close()


def test_frames_carry_their_capture_time_and_arrive_after_the_delay(cell_path, observer):
    with (
        executable("sim_cell", f"cell:={cell_path}") as cell,
        executable("sim_camera", f"cell:={cell_path}", f"camera:={CAMERA}") as camera,
    ):
        observer.spin_until(lambda: len(observer.images) >= 45, "45 images")
        observer.spin_until(
            lambda: observer.diagnostics and "real_time_factor" in observer.diagnostics[-1][1], "diagnostics"
        )
        assert cell.said(f"ready: FR3 at {ADDRESS}, cameras fixed_1, wrist, fixed_2")
        ring = FrameReader(ADDRESS, load_cell(cell_path).camera(CAMERA))
        sim_times = [ring.read(ring.written - 1 - back) for back in (0, 1)]
        assert camera.interrupt() == 0
        assert cell.interrupt() == 0

    received, stamped, images = zip(*observer.images, strict=True)
    assert np.all(np.diff(stamped) > 0)
    assert np.min(np.subtract(received, stamped)) >= 0.04, "no image is delivered before the capture delay is over"
    assert len(set(images)) == len(images)
    assert np.array(observer.infos[-1].k).reshape(3, 3) == pytest.approx(views.intrinsics(320, 240))
    assert sim_times[0].sim_time > sim_times[1].sim_time

    status, values = observer.diagnostics[-1]
    assert status.hardware_id == ADDRESS
    assert status.level in (DiagnosticStatus.OK, DiagnosticStatus.WARN)
    assert 0.2 < float(values["real_time_factor"]) < 1.5
    assert float(values["sim_time"]) > 0
    assert int(values["frames_rendered"]) >= 45
    period = np.median(np.diff(stamped))
    assert period > 0.95 / 15
    assert period < 1.05 / 15 or int(values["frames_late"]) > 0, "15 Hz, or the cell says that it cannot keep up"
    assert not processes_of(cell_path)
    assert not shared_memory(ADDRESS)
    assert not cell.said("Traceback")
    assert not camera.said("Traceback")


def test_a_scene_is_arranged_and_its_trial_judged(cell_path, observer):
    with executable("sim_cell", f"cell:={cell_path}") as cell:
        observer.spin_until(lambda: cell.said("ready:"), what="the cell")
        observer.spin_until(lambda: observer.task_states, what="a task state before anything is arranged")
        assert (observer.task_states[-1].task, observer.task_states[-1].picks) == ("", False)
        refused = observer.arrange("juggle", 1)
        assert not refused.success
        assert refused.message.startswith("no task 'juggle'; there are pick_cube, press_button,")

        expected = arrange("grasp_vegetable", 7)
        answer = observer.arrange("grasp_vegetable", 7)
        assert (answer.success, answer.instruction) == (True, expected.instruction)
        assert tuple(answer.arm_start) == expected.arm_start
        observer.spin_until(lambda: observer.task_states[-1].task == "grasp_vegetable", what="its task state")
        state = observer.task_states[-1]
        assert (state.seed, state.instruction) == (7, expected.instruction)
        assert (state.success, state.failed, state.detail) == (False, False, "nothing held")
        assert (state.picks, state.grasped) == (True, "")
        positions = StateReader(ADDRESS).read().state
        for name in ("cucumber", "carrot", "eggplant"):
            assert np.isclose(positions, expected.placements[name].x, atol=3e-3).any(), name
        assert cell.interrupt() == 0
    assert not shared_memory(ADDRESS)
    assert not cell.said("Traceback")


def test_a_killed_cell_makes_room_for_the_next_one_and_the_camera_follows(cell_path, observer):
    with (
        executable("sim_camera", f"cell:={cell_path}", f"camera:={CAMERA}") as camera,
        executable("sim_cell", f"cell:={cell_path}") as first,
    ):
        observer.spin_until(lambda: len(observer.images) >= 5, what="images")
        with executable("sim_cell", f"cell:={cell_path}") as second:
            eventually(lambda: second.said(f"port 1337 of {ADDRESS} is taken"), what="the second cell's complaint")
            assert not second.said("Traceback")
            first.kill()
            eventually(lambda: second.said("ready:"), what="the second cell")
            count = len(observer.images)
            observer.spin_until(lambda: len(observer.images) >= count + 5, what="images of the second cell")
            stamps = [stamp for _, stamp, _ in observer.images]
            assert np.all(np.diff(stamps) > 0)
            second.kill()
        eventually(lambda: not shared_memory(ADDRESS), what="a killed cell's parts end by themselves")
        assert camera.interrupt() == 0
    eventually(lambda: not processes_of(cell_path), what="the end of all processes")


def test_a_cell_whose_physics_dies_ends(cell_path):
    with executable("sim_cell", f"cell:={cell_path}") as cell:
        eventually(lambda: cell.said("ready:"), what="the cell")
        (physics,) = processes_of(cell_path, "vga_bringup.sim.physics.process")
        os.kill(physics, signal.SIGKILL)
        assert cell.wait() == 1
        assert cell.said("sim_cell: vga_bringup.sim.physics.process ended with exit code -9")
        assert not shared_memory(ADDRESS)
        assert not cell.said("Traceback")
    eventually(lambda: not processes_of(cell_path), what="the end of all processes")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("name: wrist", "name: ceiling", "camera 'ceiling' is not simulated; simulated are fixed_1, fixed_2, wrist"),
        ("version: 1", "version: 7", "version: "),
    ],
)
def test_a_wrong_cell_file_is_refused_in_one_line(cell_path, tmp_path, old, new, complaint):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(cell_path.read_text().replace(old, new))
    with executable("sim_cell", f"cell:={wrong}") as cell:
        assert cell.wait() == 2
        assert [line for line in cell.lines if complaint in line] == cell.lines


def test_a_negative_delay_is_refused(cell_path):
    with executable("sim_cell", f"cell:={cell_path}", "capture_delay:=-0.1") as cell:
        assert cell.wait() == 2
        assert cell.said("capture_delay")
        assert not cell.said("Traceback")


def test_a_missing_parameter_is_named():
    for name in ("sim_cell", "sim_camera"):
        with executable(name) as process:
            assert process.wait() == 2
            assert process.said("parameter 'cell' is missing")
            assert len(process.lines) == 1
