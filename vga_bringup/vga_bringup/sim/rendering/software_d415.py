"""A D415 that is not there: librealsense's software device, streaming what is pushed into it."""

from __future__ import annotations

import gc
import queue
from functools import cache
from typing import Any

import numpy as np
import pyrealsense2 as rs
from numpy.typing import NDArray
from vga_policy.cell.schema import Camera

from vga_bringup.sim.rendering.frame_ring import SimFrame
from vga_bringup.sim.rendering.stereo_depth import StereoDepth
from vga_bringup.sim.scene.views import intrinsics

# Controls of a D415's color sensor, exposure in 100 us: option, minimum, maximum, step, factory setting.
_CONTROLS = (
    (rs.option.exposure, 1, 10000, 1, 166),
    (rs.option.gain, 0, 128, 1, 64),
    (rs.option.white_balance, 2800, 6500, 10, 4600),
    (rs.option.enable_auto_exposure, 0, 1, 1, 1),
    (rs.option.enable_auto_white_balance, 0, 1, 1, 1),
    (rs.option.auto_exposure_priority, 0, 1, 1, 1),
)

LIT_FOR = 80  # 100 us, the exposure at which pictures are as bright as they are drawn

ANNOUNCED_WITHIN_S = 5.0  # librealsense tells of a new device from a thread of its own


class Bus(rs.context):
    """A librealsense context standing in for this computer's USB ports; cameras are plugged into it and pulled out.

    They come and go when the context is asked for its devices, in the asking thread: librealsense deadlocks on
    Python's lock when a software device is added meanwhile, and crashes on one that is still listed but no more.
    """

    def __init__(self) -> None:
        super().__init__()
        self._arriving: list[SoftwareD415] = []
        self._plugged: list[SoftwareD415] = []
        self._leaving: list[SoftwareD415] = []
        self._pulled_out = False
        self._announced: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._entries: list[Any] = []  # announcements: they alone keep devices listed
        self.set_devices_changed_callback(self._announced.put)

    def plug(self, camera: Camera) -> SoftwareD415:
        """Plugs a camera in. Its frames go to whoever streams it."""
        device = SoftwareD415(camera)
        self._arriving.append(device)
        return device

    def unplug_all(self) -> None:
        """Pulls all cameras out."""
        self._arriving.clear()
        self._pulled_out = True

    def query_devices(self) -> rs.device_list:
        """The cameras that are plugged in now."""
        if self._pulled_out:
            self._pulled_out = False
            self._entries.clear()
            gc.collect()
            # Destroyed next time only: librealsense's own thread may not have let go of the entry yet.
            self._leaving, self._plugged = self._plugged, []
        while self._arriving:
            device = self._arriving.pop(0)
            device.add_to(self)
            self._plugged.append(device)
            self._entries.append(self._announced.get(timeout=ANNOUNCED_WITHIN_S))
        return super().query_devices()


class SoftwareD415:
    """One camera of the cell as a librealsense device. Its depth is given from color's viewpoint."""

    def __init__(self, camera: Camera) -> None:
        self._device = rs.software_device()
        for key, value in {
            rs.camera_info.name: "Intel RealSense D415",
            rs.camera_info.serial_number: camera.serial,
            rs.camera_info.product_line: "D400",
            rs.camera_info.product_id: "0AD3",
            rs.camera_info.usb_type_descriptor: "3.2",
            rs.camera_info.physical_port: f"simulated {camera.name}",
        }.items():
            self._device.register_info(key, value)
        self._stereo = self._device.add_sensor("Stereo Module")
        self._rgb = self._device.add_sensor("RGB Camera")
        self._color = self._rgb.add_video_stream(_stream(camera, rs.stream.color, rs.format.rgb8, 3), True)
        for option, *limits in _CONTROLS:
            allowed = rs.option_range()
            allowed.min, allowed.max, allowed.step, allowed.default = limits
            self._rgb.add_option(option, allowed)
        if camera.depth:
            self._stereo_depth = StereoDepth(camera.color.width)
            self._depth = self._stereo.add_video_stream(_stream(camera, rs.stream.depth, rs.format.z16, 2), True)
            self._stereo.add_read_only_option(rs.option.depth_units, 0.001)
            same_place = rs.extrinsics()
            same_place.rotation, same_place.translation = np.eye(3).ravel().tolist(), [0.0, 0.0, 0.0]
            self._depth.register_extrinsics_to(self._color, same_place)
        self._device.create_matcher(rs.matchers.default)

    def add_to(self, context: rs.context) -> None:
        """Makes the device known to a context."""
        self._device.add_to(context)

    def push(self, frame: SimFrame) -> None:
        """Delivers a frame. Its timestamp is the capture time; metadata carries the simulated time as camera clock."""
        if frame.depth is not None:
            self._stereo.on_video_frame(_video_frame(frame, self._depth, self._stereo_depth.measure(frame.depth)))
        self._rgb.set_metadata(rs.frame_metadata_value.frame_timestamp, round(1e6 * frame.sim_time))
        self._rgb.on_video_frame(_video_frame(frame, self._color, self._exposed(frame.color)))

    def _exposed(self, color: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """As bright as a locked exposure makes it; an automatic one is right."""
        locked = self._rgb.get_option(rs.option.enable_auto_exposure) == 0
        share = self._rgb.get_option(rs.option.exposure) / LIT_FOR if locked else 1.0
        return color if share == 1.0 else _lit(share)[color]


@cache
def _lit(share: float) -> NDArray[np.uint8]:
    """What becomes of each pixel value, as sRGB codes light, at so much of the light."""
    code = np.arange(256) / 255
    light = share * np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * coded.clip(0, 1)).astype(np.uint8)


def _stream(camera: Camera, kind: rs.stream, pixels: rs.format, bytes_per_pixel: int) -> rs.video_stream:
    width, height = camera.color.width, camera.color.height
    matrix = intrinsics(width, height)
    numbers = rs.intrinsics()
    numbers.width, numbers.height = width, height
    numbers.fx, numbers.fy, numbers.ppx, numbers.ppy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    numbers.model, numbers.coeffs = rs.distortion.inverse_brown_conrady, [0.0] * 5
    stream = rs.video_stream()
    stream.type, stream.index, stream.uid, stream.fmt, stream.bpp = kind, 0, int(kind), pixels, bytes_per_pixel
    stream.width, stream.height, stream.fps, stream.intrinsics = width, height, camera.color.fps, numbers
    return stream


def _video_frame(frame: SimFrame, profile: rs.stream_profile, pixels: NDArray[Any]) -> rs.software_video_frame:
    video = rs.software_video_frame()
    video.pixels, video.stride, video.bpp = pixels, pixels.strides[0], pixels.strides[1]
    video.timestamp, video.frame_number = 1e3 * frame.captured, frame.number
    video.domain = rs.timestamp_domain.global_time  # as of a D415 whose clock librealsense converts to the host's
    video.profile = profile.as_video_stream_profile()
    return video
