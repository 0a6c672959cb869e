"""A D415 made of librealsense's own software device, to be plugged, unplugged and pushed frame by frame.

Run as a program it is a camera node with such a camera, worked by lines on stdin; see :func:`main`.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time

import numpy as np
import pyrealsense2 as rs

# min, max, step, default, as a D415's RGB sensor reports them; exposure counts 100 us.
CONTROLS = {
    rs.option.exposure: (1, 10000, 1, 166),
    rs.option.gain: (0, 128, 1, 64),
    rs.option.white_balance: (2800, 6500, 10, 4600),
    rs.option.enable_auto_exposure: (0, 1, 1, 1),
    rs.option.enable_auto_white_balance: (0, 1, 1, 1),
    rs.option.auto_exposure_priority: (0, 1, 1, 1),
}


def image_of(number: int, width: int, height: int) -> np.ndarray:
    """The image of a frame number: a smooth gradient that JPEG keeps, tinted by the number."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 255 // width, y * 255 // height
    return np.dstack([red, green, np.full_like(red, number * 8 % 256)]).astype(np.uint8)


def intrinsics(width: int, height: int) -> rs.intrinsics:
    numbers = rs.intrinsics()
    numbers.width, numbers.height = width, height
    numbers.fx, numbers.fy, numbers.ppx, numbers.ppy = 0.96 * width, 0.97 * width, width / 2 - 1.5, height / 2 + 2.5
    numbers.model, numbers.coeffs = rs.distortion.inverse_brown_conrady, [0.125, -0.25, 0.0625, 0.03125, 0.5]
    return numbers


class Bus:
    """A librealsense context, as a USB bus: it keeps the software devices plugged into it alive."""

    def __init__(self):
        self.context = rs.context()
        self._plugged = []
        self.context.set_devices_changed_callback(self._plugged.append)

    def plug(self, camera: SoftwareD415) -> None:
        camera.device.add_to(self.context)

    def unplug_all(self) -> None:
        self._plugged.clear()
        gc.collect()


class SoftwareD415:
    """One camera. It is gone when unplugged from its bus, dropped here and released by whoever streams it."""

    def __init__(self, serial="042", width=64, height=48, fps=30, depth=None, usb="3.2", controls=CONTROLS):
        """depth: depth units in meters for a camera with depth, whose depth camera is the color camera."""
        self.width, self.height, self.fps, self.number = width, height, fps, 0
        self.device = rs.software_device()
        for key, value in {
            rs.camera_info.name: "Intel RealSense D415",
            rs.camera_info.serial_number: serial,
            rs.camera_info.product_line: "D400",
            rs.camera_info.usb_type_descriptor: usb,
        }.items():
            self.device.register_info(key, value)
        self._stereo, self._rgb = self.device.add_sensor("Stereo Module"), self.device.add_sensor("RGB Camera")
        self._color_profile = self._rgb.add_video_stream(self._stream(rs.stream.color, rs.format.rgb8, 3), True)
        self._depth_profile = None
        if depth is not None:
            self._depth_profile = self._stereo.add_video_stream(self._stream(rs.stream.depth, rs.format.z16, 2), True)
            self._stereo.add_read_only_option(rs.option.depth_units, depth)
            same_place = rs.extrinsics()
            same_place.rotation, same_place.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
            self._depth_profile.register_extrinsics_to(self._color_profile, same_place)
        for option, limits in controls.items():
            allowed = rs.option_range()
            allowed.min, allowed.max, allowed.step, allowed.default = limits
            self._rgb.add_option(option, allowed)
        self.device.create_matcher(rs.matchers.default)

    def _stream(self, kind, pixels, bytes_per_pixel) -> rs.video_stream:
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid, stream.fmt, stream.bpp = kind, 0, int(kind), pixels, bytes_per_pixel
        stream.width, stream.height, stream.fps = self.width, self.height, self.fps
        stream.intrinsics = intrinsics(self.width, self.height)
        return stream

    def option(self, option: rs.option) -> float:
        return self._rgb.get_option(option)

    def set_metadata(self, key: rs.frame_metadata_value, value: int) -> None:
        self._rgb.set_metadata(key, value)

    def push(self, timestamp_ms=None, domain=rs.timestamp_domain.global_time, skip=0, depth=1000) -> float:
        """Pushes the next frame, after losing `skip`; returns its timestamp. depth: value of every depth pixel."""
        self.number += 1 + skip
        timestamp_ms = time.time() * 1e3 if timestamp_ms is None else timestamp_ms
        if self._depth_profile is not None:
            pixels = np.full((self.height, self.width), depth, np.uint16)
            self._push(self._stereo, self._depth_profile, pixels, timestamp_ms, domain)
        image = image_of(self.number, self.width, self.height)
        self._push(self._rgb, self._color_profile, image, timestamp_ms, domain)
        return timestamp_ms

    def _push(self, sensor, profile, pixels, timestamp_ms, domain) -> None:
        frame = rs.software_video_frame()
        frame.pixels, frame.stride, frame.bpp = pixels, pixels.strides[0], pixels.strides[1]
        frame.timestamp, frame.domain, frame.frame_number = timestamp_ms, domain, self.number
        frame.profile = profile.as_video_stream_profile()
        sensor.on_video_frame(frame)


def main() -> int:
    """A camera node with a software D415: `software_d415.py <arguments of SoftwareD415, as JSON> <ROS arguments>`.

    Lines on stdin: `plug`, `unplug`, `push COUNT [SKIP]` at the camera's rate. Every frame pushed is told on stdout as
    a line of JSON: number, timestamp_ms.
    """
    from vga_bringup.nodes import camera_node

    bus, arguments = Bus(), json.loads(sys.argv[1])

    def work() -> None:
        camera = None
        for line in sys.stdin:
            command, *numbers = line.split()
            if command == "plug":
                camera = SoftwareD415(**arguments)
                bus.plug(camera)
            elif command == "unplug":
                camera = None
                bus.unplug_all()
            elif command == "push":
                count, skip = (*map(int, numbers), 0)[:2]
                due = time.monotonic()
                for _ in range(count):
                    timestamp_ms = camera.push(skip=skip)
                    print(json.dumps({"number": camera.number, "timestamp_ms": timestamp_ms}), flush=True)
                    due += 1 / camera.fps
                    time.sleep(max(0.0, due - time.monotonic()))

    threading.Thread(target=work, daemon=True).start()
    return camera_node.main(sys.argv[1:2] + sys.argv[2:], lambda *_: bus.context)


if __name__ == "__main__":
    sys.exit(main())
