"""The camera node in its own process, with a software D415 on librealsense, seen by an rclpy subscriber in this one."""

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import rclpy
import simplejpeg
import yaml
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from support import software_d415
from support.cells import SIM_FILE
from support.waiting import eventually
from vga_bringup.camera.clock import milliseconds_to_ns

DEADLINE_S = 30
WIDTH, HEIGHT, FPS = 320, 240, 15
SERIAL = "042"

pytestmark = pytest.mark.usefixtures("ros_domain")

TOPICS = {
    "color/image_raw": Image,
    "color/image_raw/compressed": CompressedImage,
    "color/camera_info": CameraInfo,
    "aligned_depth_to_color/image_raw": Image,
    "aligned_depth_to_color/camera_info": CameraInfo,
}


@pytest.fixture(scope="module")
def cell(tmp_path_factory) -> Path:
    """The simulated cell with one camera, which has depth."""
    data = yaml.safe_load(SIM_FILE.read_text())
    camera = data["cameras"][0] | {"name": "wrist", "serial": SERIAL, "slot": 0, "depth": True}
    path = tmp_path_factory.mktemp("cell") / "cell.yaml"
    path.write_text(yaml.safe_dump(data | {"cameras": [camera]}))
    return path


class CameraProcess:
    """`software_d415.py` as a child: a camera node, and the cable in our hand."""

    def __init__(self, *ros_arguments, **camera):
        arguments = {"serial": SERIAL, "width": WIDTH, "height": HEIGHT, "fps": FPS, "depth": 0.001} | camera
        self.process = subprocess.Popen(
            [sys.executable, software_d415.__file__, json.dumps(arguments), "--ros-args", *ros_arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._pushed, self._errors = queue.Queue(), []
        self._readers = [threading.Thread(target=self._read_pushed), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_pushed(self):
        for line in self.process.stdout:
            self._pushed.put(json.loads(line))

    def _read_errors(self):
        self._errors.extend(self.process.stderr)

    def send(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def push(self, count, skip=0):
        """Pushes frames at the camera's rate and waits for the last one; returns {capture time, ns: frame number}."""
        self.send(f"push {count} {skip}")
        frames = [self._pushed.get(timeout=DEADLINE_S) for _ in range(count)]
        return {milliseconds_to_ns(frame["timestamp_ms"]): frame["number"] for frame in frames}

    def finish(self, interrupt=None):
        """Waits for the exit, after a signal if one is given; returns exit code, stderr, seconds taken."""
        started = time.monotonic()
        if interrupt is not None:
            self.process.send_signal(interrupt)
        code = self.process.wait(timeout=DEADLINE_S)
        seconds = time.monotonic() - started
        for reader in self._readers:
            reader.join()
        return code, "".join(self._errors), seconds

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.finish()


class Observer:
    """An outside subscriber to everything the camera publishes."""

    def __init__(self):
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("observer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.received, self.diagnostics = defaultdict(dict), []
        for topic, kind in TOPICS.items():
            self.node.create_subscription(
                kind, f"/cameras/wrist/{topic}", lambda message, topic=topic: self._keep(topic, message),
                qos_profile_sensor_data,
            )  # fmt: skip
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, 10)

    def _keep(self, topic, message):
        stamp = message.header.stamp
        self.received[topic][stamp.sec * 1_000_000_000 + stamp.nanosec] = message

    def _diagnosed(self, message):
        status = message.status[0]
        self.diagnostics.append((status, {pair.key: pair.value for pair in status.values}))

    def spin_until(self, condition, what):
        return eventually(condition, what, DEADLINE_S, lambda: self._executor.spin_once(timeout_sec=0.1))

    def spin_while(self, work):
        """Spins until `work`, run on a thread, has returned; returns what it did."""
        result = []
        worker = threading.Thread(target=lambda: result.append(work()))
        worker.start()
        self.spin_until(lambda: not worker.is_alive(), "the pushed frames")
        return result[0]

    def diagnosed(self, what, **values):
        """Waits for a diagnosis with these values and returns it with all its values."""
        self.diagnostics.clear()

        def found():
            return [d for d in self.diagnostics if all(d[1].get(key) == value for key, value in values.items())]

        return self.spin_until(found, what)[0]

    def connect(self, camera):
        """Pushes single frames until every topic has brought one."""
        eventually(
            lambda: len(self.received) == len(TOPICS),
            lambda: f"every topic brings something; only {sorted(self.received)} do",
            DEADLINE_S,
            lambda: self.spin_while(lambda: camera.push(1)),
        )

    def close(self):
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def observer():
    observer = Observer()
    yield observer
    observer.close()


def camera_arguments(cell):
    return "-r", "__ns:=/cameras", "-r", "__node:=wrist", "-p", f"cell:={cell}", "-p", "camera:=wrist"


def test_publishes_what_the_camera_captured(cell, observer):
    with CameraProcess(*camera_arguments(cell)) as camera:
        camera.send("plug")
        observer.connect(camera)
        pushed = observer.spin_while(lambda: camera.push(3 * FPS))
        observer.spin_until(
            lambda: all(max(pushed) in observer.received[topic] for topic in TOPICS), "the last frame on every topic"
        )

    for topic in TOPICS:
        came = {stamp: message for stamp, message in observer.received[topic].items() if stamp >= min(pushed)}
        observer.received[topic] = came
        assert set(came) <= set(pushed), f"{topic}: stamps that are no capture times"
        assert len(came) >= 0.9 * len(pushed)
        assert {message.header.frame_id for message in came.values()} == {"wrist_color_optical_frame"}

    bridge = CvBridge()
    for stamp, message in observer.received["color/image_raw"].items():
        assert (message.encoding, message.step) == ("rgb8", WIDTH * 3)
        captured = software_d415.image_of(pushed[stamp], WIDTH, HEIGHT)
        assert np.array_equal(bridge.imgmsg_to_cv2(message, "rgb8"), captured)
    for stamp, message in observer.received["color/image_raw/compressed"].items():
        captured = software_d415.image_of(pushed[stamp], WIDTH, HEIGHT)
        decoded = simplejpeg.decode_jpeg(bytes(message.data), "RGB")
        assert message.format == "rgb8; jpeg compressed bgr8"
        assert np.abs(decoded.astype(int) - captured).mean() < 2
    for message in observer.received["aligned_depth_to_color/image_raw"].values():
        assert message.encoding == "16UC1"
        depth = np.frombuffer(message.data, np.uint16).reshape(HEIGHT, WIDTH)
        assert np.abs(depth[depth > 0].astype(int) - 1000).max() <= 1
        assert (depth > 0).mean() > 0.8

    numbers = software_d415.intrinsics(WIDTH, HEIGHT)
    for topic in ("color/camera_info", "aligned_depth_to_color/camera_info"):
        info = next(iter(observer.received[topic].values()))
        assert (info.width, info.height, info.distortion_model) == (WIDTH, HEIGHT, "plumb_bob")
        assert list(info.d) == numbers.coeffs
        assert list(info.k) == [numbers.fx, 0, numbers.ppx, 0, numbers.fy, numbers.ppy, 0, 0, 1]
        assert list(info.p) == [numbers.fx, 0, numbers.ppx, 0, 0, numbers.fy, numbers.ppy, 0, 0, 0, 1, 0]


def test_diagnoses_the_stream(cell, observer):
    with CameraProcess(*camera_arguments(cell)) as camera:
        camera.send("plug")
        observer.connect(camera)
        observer.diagnostics.clear()
        stamps = sorted(observer.spin_while(lambda: camera.push(4 * FPS)))
        diagnosis, values = [found for found in observer.diagnostics if found[1]["state"] == "streaming"][-1]
        lost_before = int(values["frames_lost"])
        observer.spin_while(lambda: camera.push(10, skip=2))
        observer.diagnosed("the lost frames", frames_lost=str(lost_before + 20))

    assert diagnosis.name == "/cameras/wrist: stream"
    assert diagnosis.hardware_id == SERIAL
    pushed_fps = (len(stamps) - 1) / ((stamps[-1] - stamps[0]) * 1e-9)
    assert float(values["fps"]) == pytest.approx(pushed_fps, abs=2.5)
    assert 0 < float(values["capture_to_publish_ms"]) <= float(values["capture_to_publish_worst_ms"])
    assert values["exposure_us"] == "8000 (locked)"
    assert values["gain"] == "64 (locked)"
    assert values["white_balance_k"] == "4600 (locked)"
    assert values["timestamp_domain"] == "global_time"
    assert values["usb"] == "3.2"
    assert values["profile"] == "320x240 at 15 fps"


def test_absent_then_streaming_then_unplugged_then_streaming(cell, observer):
    with CameraProcess(*camera_arguments(cell)) as camera:
        diagnosis, _ = observer.diagnosed("the diagnosis of an absent camera", state="absent")
        assert diagnosis.level == DiagnosticStatus.ERROR
        assert f"no RealSense with serial {SERIAL} is connected (found: none); plug it in" in diagnosis.message
        for _ in range(2):
            camera.send("plug")
            observer.received.clear()
            observer.connect(camera)
            camera.send("unplug")
            observer.diagnosed("the diagnosis of an unplugged camera", state="absent")
        code, errors, _ = camera.finish(signal.SIGTERM)
    assert code == 0
    lines = errors.splitlines()
    assert [("[INFO]" in line, "no RealSense" in line, "no frame for" in line) for line in lines] == [
        (False, True, False),
        *2 * [(True, False, False), (False, False, True), (False, True, False)],
    ], errors


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_stops_at_once_without_a_word(cell, observer, interrupt):
    with CameraProcess(*camera_arguments(cell)) as camera:
        camera.send("plug")
        observer.connect(camera)
        camera.send("push 1000")
        observer.received.clear()
        observer.spin_until(lambda: len(observer.received) == len(TOPICS), "frames")
        code, errors, seconds = camera.finish(interrupt)
    assert code == 0
    assert seconds < 5  # 0.4 on an idle machine
    assert all("no RealSense" in line or "streams 320x240" in line for line in errors.splitlines()), errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "camera:=wrist"], "parameter 'cell' is missing"),
        (["-p", "cell:=nowhere.yaml", "-p", "camera:=wrist"], "nowhere.yaml: cannot be read"),
        (["-p", f"cell:={SIM_FILE}", "-p", "camera:=left"], "it has ['fixed_1', 'wrist', 'fixed_2']"),
        (["-p", f"cell:={SIM_FILE}"], "it has ['fixed_1', 'wrist', 'fixed_2']"),
        (["-p", f"cell:={SIM_FILE}", "-p", "camera:=true"], "camera"),
    ],
)
def test_wrong_parameters_are_one_line_and_exit_code_2(arguments, message):
    with CameraProcess(*arguments) as camera:
        code, errors, _ = camera.finish()
    assert code == 2
    assert len(errors.splitlines()) == 1
    assert message in errors
