"""The device loop on librealsense's software device: what it delivers, and what it makes of every mishap."""

import queue
import threading
import time
from dataclasses import replace

import numpy as np
import pyrealsense2 as rs
import pytest
from support.software_d415 import Bus, SoftwareD415, image_of
from support.waiting import eventually
from vga_bringup.camera import device as device_module
from vga_bringup.camera.clock import TimestampDomain, milliseconds_to_ns
from vga_bringup.camera.device import DeviceLoop
from vga_bringup.camera.discovery import CameraState
from vga_policy.cell.schema import Camera, ColorProfile

DEADLINE_S = 15
CAMERA = Camera(name="wrist", serial="042", role="wrist", color=ColorProfile(width=64, height=48, fps=30))
DEPTH = CAMERA.model_copy(update={"depth": True})


class Running:
    """A device loop at work on a bus, with what it delivered."""

    def __init__(self, contract=CAMERA):
        self.bus, self.frames, self.statuses = Bus(), queue.Queue(), queue.Queue()
        self.depths = queue.Queue()
        self.loop = DeviceLoop(contract, self._keep, self.statuses.put, self.bus.context)

    def _keep(self, frame):
        if (depth := frame.aligned_depth()) is not None:
            self.depths.put(depth.copy())
        self.frames.put(replace(frame, color=frame.color.copy()))

    def __enter__(self):
        self.loop.start()
        return self

    def __exit__(self, *_):
        self.loop.stop()
        assert not self.loop._thread.is_alive()

    def plug(self, **arguments):
        camera = SoftwareD415(**arguments)
        self.bus.plug(camera)
        return camera

    def status(self):
        return self.statuses.get(timeout=DEADLINE_S)

    def push(self, camera, **arguments):
        """Pushes a frame and waits for it; returns it with its timestamp. A camera not yet opened drops frames."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            timestamp_ms = camera.push(**arguments)
            try:
                while (frame := self.frames.get(timeout=0.2)).number != camera.number:
                    pass
            except queue.Empty:
                continue
            return frame, timestamp_ms
        raise AssertionError("the camera was not opened")


@pytest.fixture(autouse=True)
def _brisk(monkeypatch):
    monkeypatch.setattr(device_module, "RETRY_S", 0.05)


def test_frames_are_the_cameras_pixel_by_pixel_with_their_stamps():
    with Running() as running:
        camera = running.plug()
        numbers = []
        for _ in range(5):
            frame, timestamp_ms = running.push(camera)
            assert np.array_equal(frame.color, image_of(frame.number, 64, 48))
            assert frame.capture_ns == milliseconds_to_ns(timestamp_ms)
            assert frame.domain is TimestampDomain.GLOBAL_TIME
            assert (frame.model.width, frame.model.height) == (64, 48)
            numbers.append(frame.number)
        assert numbers == sorted(set(numbers))


def test_absent_appears_is_unplugged_and_comes_back():
    with Running() as running:
        assert running.status().state is CameraState.ABSENT
        for _ in range(2):
            camera = running.plug()
            running.push(camera)
            status = running.status()
            assert status.state is CameraState.STREAMING
            assert status.identity.usb == "3.2"
            camera = None
            running.bus.unplug_all()
            silent, gone = running.status(), running.status()
            assert (silent.state, gone.state) == (CameraState.RECONNECTING, CameraState.ABSENT)
            assert "has sent no frame for 0.5 s" in silent.message
        assert running.statuses.empty()  # one line per transition


def test_absence_names_what_is_connected():
    with Running() as running:
        running.status()
        other = running.plug(serial="007")
        status = running.status()
        assert status.state is CameraState.ABSENT
        assert "serial 042" in status.message
        assert "found: 007" in status.message
        del other


def test_the_right_camera_of_several_is_streamed():
    with Running() as running:
        other, camera = running.plug(serial="007"), running.plug()
        frame, timestamp_ms = running.push(camera)
        other.push()
        assert frame.capture_ns == milliseconds_to_ns(timestamp_ms)


def test_a_profile_it_does_not_offer_is_refused_with_those_it_does():
    with Running() as running:
        camera = running.plug(width=320, height=240, fps=15, usb="2.1")
        while (status := running.status()).state is not CameraState.REFUSED:
            pass
        assert "does not offer color 64x48 at 30 fps; it offers 320x240 at 15" in status.message
        assert "use a USB 3 port" in status.message
        del camera


def test_depth_it_does_not_have_is_refused():
    with Running(DEPTH) as running:
        camera = running.plug()
        while (status := running.status()).state is not CameraState.REFUSED:
            pass
        assert "does not offer depth at 30 fps; it offers none" in status.message
        del camera


def test_a_camera_in_use_is_waited_for():
    bus = Bus()
    camera = SoftwareD415()
    bus.plug(camera)
    other = rs.pipeline(bus.context)
    config = rs.config()
    config.enable_device("042")
    other.start(config)
    running = Running()
    running.bus = bus
    running.loop = DeviceLoop(CAMERA, running._keep, running.statuses.put, bus.context)
    with running:
        status = running.status()
        assert status.state is CameraState.REFUSED
        assert "is used by another process" in status.message
        other.stop()
        running.push(camera)
        assert running.status().state is CameraState.STREAMING


@pytest.fixture
def resets(monkeypatch):
    """When cameras were reset; and the loop loses patience at once."""
    seen = queue.Queue()
    monkeypatch.setattr(device_module, "FIRST_FRAME_S", 0.05)
    monkeypatch.setattr(device_module, "POLL_MS", 20)
    monkeypatch.setattr(rs.device, "hardware_reset", lambda device: seen.put(time.monotonic()))
    return seen


def test_a_camera_that_never_sends_is_reset_once_then_replugged_by_hand(resets):
    with Running() as running:
        camera = running.plug()
        resets.get(timeout=DEADLINE_S)
        messages = []
        while not messages or "replug it" not in messages[-1]:
            messages.append(running.status().message)
        before = [message for message in messages if "Intel" in message and "042" in message]
        assert "check its cable" in before[0]
        assert "has sent no frame in 3 starts: it is being reset" in before[1]
        assert "nor after its reset; replug it, or power-cycle it; reconnecting" in before[2]
        with pytest.raises(queue.Empty):
            resets.get(timeout=1.0)  # some ten starts
        del camera


def test_a_camera_that_sends_after_its_reset_may_be_reset_again(resets, monkeypatch):
    with Running() as running:
        camera = running.plug()
        for _ in range(2):
            resets.get(timeout=DEADLINE_S)
            monkeypatch.setattr(device_module, "FIRST_FRAME_S", 5.0)
            running.push(camera)
            monkeypatch.setattr(device_module, "FIRST_FRAME_S", 0.05)


def test_a_camera_in_use_is_not_reset(resets):
    bus, camera = Bus(), SoftwareD415()
    bus.plug(camera)
    other, config = rs.pipeline(bus.context), rs.config()
    config.enable_device("042")
    other.start(config)
    running = Running()
    running.loop = DeviceLoop(CAMERA, running._keep, running.statuses.put, bus.context)
    with running:
        assert "is used by another process" in running.status().message
        with pytest.raises(queue.Empty):
            resets.get(timeout=1.0)
    other.stop()


def test_lost_and_repeated_frames_are_counted():
    with Running() as running:
        camera, statistics = running.plug(), running.loop.statistics
        first, _ = running.push(camera)
        second, timestamp_ms = running.push(camera, skip=3)
        assert statistics.report(time.monotonic_ns()).lost == second.number - first.number - 1 >= 3
        camera.push(timestamp_ms=timestamp_ms)
        eventually(lambda: statistics.report(time.monotonic_ns()).duplicates, "the duplicate is counted")


@pytest.mark.parametrize(
    ("units", "value", "millimeters"), [(0.001, 1234, 1234), (0.0001, 12345, 1234), (0.01, 7000, 65535)]
)
def test_aligned_depth_is_in_millimeters(units, value, millimeters):
    with Running(DEPTH) as running:
        camera = running.plug(depth=units)
        running.push(camera, depth=value)
        depth = running.depths.get(timeout=DEADLINE_S)
        assert (depth.dtype, depth.shape) == (np.uint16, (48, 64))
        known = depth[depth > 0]
        assert known.size > 0.8 * depth.size
        assert np.abs(known.astype(int) - millimeters).max() <= 1


def test_metadata_moves_the_stamp_to_mid_exposure():
    with Running() as running:
        camera = running.plug()
        camera.set_metadata(rs.frame_metadata_value.frame_timestamp, 5_004_000)
        camera.set_metadata(rs.frame_metadata_value.sensor_timestamp, 5_000_000)
        frame, timestamp_ms = running.push(camera)
        assert frame.capture_ns == milliseconds_to_ns(timestamp_ms) - 4_000_000


@pytest.mark.parametrize("domain", ["hardware_clock", "system_time"])
def test_the_timestamp_domain_is_stated(domain):
    with Running() as running:
        camera = running.plug()
        frame, _ = running.push(camera, domain=getattr(rs.timestamp_domain, domain))
        while (status := running.status()).state is not CameraState.STREAMING:
            pass
        assert status.domain == frame.domain == domain


def test_locks_are_reported_as_read_back():
    contract = CAMERA.model_copy(update={"exposure_us": 8000, "gain": 500})
    with Running(contract) as running:
        camera = running.plug()
        running.push(camera)
        while (status := running.status()).state is not CameraState.STREAMING:
            pass
        assert [str(control) for control in status.controls[:1]] == ["8000 (locked)"]
        assert "not locked: gain 64 (asked 500: refused; allowed are 0 to 128" in status.message


def test_a_failing_receiver_does_not_end_the_loop():
    raised, frames = threading.Event(), queue.Queue()

    def receive(frame):
        if not raised.is_set():
            raised.set()
            raise OSError("disk full")
        frames.put(frame.number)

    bus, statuses = Bus(), queue.Queue()
    loop = DeviceLoop(CAMERA, receive, statuses.put, bus.context)
    camera = SoftwareD415()
    bus.plug(camera)
    loop.start()
    try:
        deadline = time.monotonic() + DEADLINE_S
        while frames.empty() and time.monotonic() < deadline:
            camera.push()
            time.sleep(0.05)
        messages = [statuses.get_nowait().message for _ in range(statuses.qsize())]
        assert any("disk full" in message for message in messages)
        assert not frames.empty()
    finally:
        loop.stop()


def test_looking_for_an_absent_camera_never_holds_up_other_threads():
    """pipeline.start() on an absent camera would block every Python thread for 15 s."""
    with Running() as running:
        assert running.status().state is CameraState.ABSENT
        worst = 0.0
        for _ in range(40):
            started = time.monotonic()
            time.sleep(0.01)
            worst = max(worst, time.monotonic() - started)
        assert worst < 2


def push_one(camera, *, depth):
    """Half a pair: the depth image, 777 everywhere, or the color image."""
    camera.number += 1
    size, now_ms = (camera.height, camera.width), time.time() * 1e3
    if depth:
        pixels = np.full(size, 777, np.uint16)
        camera._push(camera._stereo, camera._depth_profile, pixels, now_ms, rs.timestamp_domain.global_time)
    else:
        pixels = image_of(camera.number, *size[::-1])
        camera._push(camera._rgb, camera._color_profile, pixels, now_ms, rs.timestamp_domain.global_time)


def test_depth_alone_is_no_sign_of_life():
    with Running(DEPTH) as running:
        camera = running.plug(depth=0.001)
        running.push(camera)
        deadline, states = time.monotonic() + DEADLINE_S, []
        while CameraState.RECONNECTING not in states:
            assert time.monotonic() < deadline
            push_one(camera, depth=True)
            time.sleep(1 / 30)
            while not running.statuses.empty():
                states.append(running.status().state)
        assert states[-1] is CameraState.RECONNECTING


def test_an_image_gets_no_depth_of_before():
    with Running(DEPTH) as running:
        camera = running.plug(depth=0.001)
        running.push(camera, depth=777)
        eventually(lambda: not running.depths.empty())
        running.frames, running.depths = queue.Queue(), queue.Queue()
        time.sleep(0.1)  # three frames long no depth has come
        for _ in range(60):
            push_one(camera, depth=False)
            time.sleep(1 / 30)
        assert running.frames.qsize() > 10
        assert running.depths.empty()
