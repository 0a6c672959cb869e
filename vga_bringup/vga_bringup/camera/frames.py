"""From librealsense's framesets to stamped frames."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyrealsense2 as rs

from vga_bringup.camera.clock import CaptureClock, Refused, TimestampDomain
from vga_bringup.camera.intrinsics import CameraModel, camera_model

Depth = npt.NDArray[np.uint16]

PAIRED = 0.75  # of a frame's period, at most, between the two images of a pair


@dataclass(frozen=True)
class Frame:
    """One captured frame. The arrays are librealsense's own memory: use them within the callback, copy to keep.

    color: (height, width, 3) uint8, RGB.
    aligned_depth: computes the depth seen by each color pixel, (height, width) uint16 in mm, 0 where unknown; None if
        the frame has no depth. A call, because aligning costs more than all the rest.
    capture_ns: capture time on the host's system clock (see vga_bringup.camera.clock), strictly increasing.
    domain: the clock the camera's timestamp was read from. number: the camera's frame number.
    """

    color: npt.NDArray[np.uint8]
    aligned_depth: Callable[[], Depth | None]
    capture_ns: int
    domain: TimestampDomain
    number: int
    model: CameraModel


class FramesetReader:
    """Reads the framesets of one started stream; `clock` outlives it, so that stamps increase across reconnections."""

    def __init__(self, profile: rs.pipeline_profile, clock: CaptureClock) -> None:
        color = profile.get_stream(rs.stream.color).as_video_stream_profile()
        self._model = camera_model(color.get_intrinsics())
        self._apart_ms = PAIRED * 1000 / color.fps()
        self._clock = clock
        self._number: int | None = None
        self._align = rs.align(rs.stream.color)

    def read(self, frameset: rs.composite_frame) -> Frame | Refused:
        """The frame of a frameset that has just arrived, or why it brings no new color image."""
        color = frameset.get_color_frame()
        if not color or color.get_frame_number() == self._number:
            return Refused.NO_IMAGE
        self._number = color.get_frame_number()
        domain = TimestampDomain(color.get_frame_timestamp_domain().name)
        capture_ns = self._clock.stamp(color.get_timestamp(), domain, time.time_ns(), _readout_delay_us(color))
        if isinstance(capture_ns, Refused):
            return capture_ns
        return Frame(
            color=np.asanyarray(color.get_data()),
            aligned_depth=lambda: self._aligned_depth(frameset),
            capture_ns=capture_ns,
            domain=domain,
            number=color.get_frame_number(),
            model=self._model,
        )

    def _aligned_depth(self, frameset: rs.composite_frame) -> Depth | None:
        depth, color = frameset.get_depth_frame(), frameset.get_color_frame()
        if not depth or self._from_another_time(depth, color):
            return None
        millimeters_per_unit = depth.get_units() * 1000
        aligned = np.asanyarray(self._align.process(frameset).get_depth_frame().get_data())
        if math.isclose(millimeters_per_unit, 1.0, rel_tol=1e-6):  # the D400's default
            return aligned
        return np.rint(aligned * millimeters_per_unit).clip(0, np.iinfo(np.uint16).max).astype(np.uint16)

    def _from_another_time(self, depth: rs.frame, color: rs.frame) -> bool:
        """Whether librealsense filled the pair up with a depth image of before, since no new one has come."""
        same_clock = depth.get_frame_timestamp_domain() == color.get_frame_timestamp_domain()
        return same_clock and abs(depth.get_timestamp() - color.get_timestamp()) > self._apart_ms


def _readout_delay_us(frame: rs.frame) -> int:
    """From the middle of the exposure to the start of readout, by the camera's clock; 0 where it does not say."""
    readout, exposure = rs.frame_metadata_value.frame_timestamp, rs.frame_metadata_value.sensor_timestamp
    if not (frame.supports_frame_metadata(readout) and frame.supports_frame_metadata(exposure)):
        return 0
    return int(frame.get_frame_metadata(readout) - frame.get_frame_metadata(exposure))
