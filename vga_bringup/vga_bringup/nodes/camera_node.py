"""One RealSense camera of the cell as a ROS 2 node.

The graph runs it under the camera's name in the namespace /cameras; by hand:
`camera_node --ros-args -r __ns:=/cameras -r __node:=wrist -p camera:=wrist -p cell:=...`.

Publishes, best effort, stamped with the capture time, in frame `<camera>_color_optical_frame`:
    ~/color/image_raw                      sensor_msgs/Image, rgb8
    ~/color/image_raw/compressed           sensor_msgs/CompressedImage, JPEG 4:2:0
    ~/color/camera_info                    sensor_msgs/CameraInfo
    ~/aligned_depth_to_color/image_raw     sensor_msgs/Image, 16UC1, mm (if the cell file says depth)
    ~/aligned_depth_to_color/image_raw/compressedDepth
                                           sensor_msgs/CompressedImage, the same as PNG
    ~/aligned_depth_to_color/camera_info
and /diagnostics at 1 Hz.
"""

from __future__ import annotations

import array
import time
from collections.abc import Callable
from functools import partial

import numpy.typing as npt
import pyrealsense2 as rs
import simplejpeg
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from vga_policy.cell.schema import Camera, Cell
from vga_policy.episodes.topics import FRAMES_AHEAD
from vga_policy.ros import topics
from vga_policy.ros.diagnostics import ERROR, OK, WARN
from vga_policy.ros.log import Complaints
from vga_policy.ros.messages import time_message
from vga_policy.ros.node import CellNode, run_node
from vga_policy.ros.parameters import NodeParameter

from vga_bringup.camera import depth_png
from vga_bringup.camera.clock import TimestampDomain
from vga_bringup.camera.device import CameraState, DeviceLoop, Status
from vga_bringup.camera.discovery import PLUGGED_IN, Remedies
from vga_bringup.camera.frames import Frame
from vga_bringup.camera.intrinsics import CameraModel
from vga_bringup.camera.statistics import StreamReport

# Share of the profile's rate below which the stream is reported as slow.
SLOW = 0.9


Devices = Callable[[Cell, Camera], rs.context]


def attached(_cell: Cell, _camera: Camera) -> rs.context:
    """The devices of this computer."""
    return rs.context()


class CameraNode(CellNode):
    """Publishes what the camera's device loop delivers, from the loop's own thread.

    devices: where to look for a camera of a cell. remedies: for such a camera.
    """

    camera_name = NodeParameter("", "name of the camera in the cell file", name="camera")

    def __init__(self, devices: Devices = attached, remedies: Remedies = PLUGGED_IN) -> None:
        super().__init__("camera")
        self._devices, self._remedies = devices, remedies

    def configure(self) -> None:
        """Finds the camera in the cell file. Raises CellError when it has none of that name."""
        super().configure()
        self._camera = self.cell.camera(self.camera_name)
        self._frame_id = self.frame_prefix + self._camera.optical_frame
        own = topics.OWN_CAMERA
        self._image = self.create_publisher(Image, own.image, topics.SENSOR_DATA)
        self._compressed = self.create_publisher(CompressedImage, own.compressed, topics.SENSOR_DATA)
        self._info = self.create_publisher(CameraInfo, own.info, topics.SENSOR_DATA)
        if self._camera.depth:
            self._depth = self.create_publisher(Image, own.depth, topics.SENSOR_DATA)
            self._compressed_depth = self.create_publisher(CompressedImage, own.compressed_depth, topics.SENSOR_DATA)
            self._depth_info = self.create_publisher(CameraInfo, own.depth_info, topics.SENSOR_DATA)

    def activate(self) -> None:
        """Starts the camera."""
        self._complaints = Complaints(self)
        devices = self._devices(self.cell, self._camera)
        self._loop = DeviceLoop(self._camera, self._publish, self._log, devices, self._remedies)
        self._loop.start()
        self.resources.callback(self._loop.stop)
        self.start_diagnostics()

    def _publish(self, frame: Frame) -> None:
        stamp = time_message(frame.capture_ns)
        header = Header(stamp=stamp, frame_id=self._frame_id)
        info = _camera_info(header, frame.model)
        try:
            self._compressed.publish(self._compress(header, frame))
            self._info.publish(info)
            if self._image.get_subscription_count():
                self._image.publish(_image(header, "rgb8", frame.color))
            if self._camera.depth:
                self._publish_depth(frame, header, info)
        except RuntimeError:
            if self.context.ok():  # else ROS was shut down between two lines of this function
                raise

    def _publish_depth(self, frame: Frame, header: Header, info: CameraInfo) -> None:
        """For those who listen: aligning costs more than all the rest, and so does PNG."""
        plain, packed = (p.get_subscription_count() for p in (self._depth, self._compressed_depth))
        depth = frame.aligned_depth() if plain or packed else None
        if depth is None:
            return
        if plain:
            self._depth.publish(_image(header, "16UC1", depth))
        if packed:
            data = array.array("B", depth_png.compressed(depth))
            self._compressed_depth.publish(CompressedImage(header=header, format=depth_png.FORMAT, data=data))
        self._depth_info.publish(info)

    def _compress(self, header: Header, frame: Frame) -> CompressedImage:
        jpeg = simplejpeg.encode_jpeg(frame.color, self._camera.jpeg_quality, "RGB", "420")
        return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=array.array("B", jpeg))

    def _log(self, status: Status) -> None:
        if status.state is CameraState.REFUSED:  # waiting does not help
            self.get_logger().error(status.message)
            return
        streams = status.state is CameraState.STREAMING
        self._complaints.say("" if streams else status.message)
        if streams:
            self.get_logger().info(status.message)

    def diagnostics(self) -> list[DiagnosticStatus]:
        """How the stream does."""
        status, report = self._loop.status, self._loop.statistics.report(time.monotonic_ns())
        level, message = self._judge(status, report)
        color = self._camera.color
        values: dict[str, object] = {
            "state": status.state,
            "serial": self._camera.serial,
            "usb": status.identity.usb if status.identity else "",
            "profile": f"{color.width}x{color.height} at {color.fps} fps",
            **{control.name: control for control in status.controls},
            "fps": f"{report.fps:.2f}",
            "frames": report.delivered,
            "frames_lost": report.lost,
            "frames_duplicated": report.duplicates,
            FRAMES_AHEAD: report.ahead,
            "timestamp_domain": status.domain or "",
            "capture_to_publish_ms": f"{report.latency_ms:.1f}",
            "capture_to_publish_worst_ms": f"{report.worst_latency_ms:.1f}",
        }
        return [self.part("stream", self._camera.serial, level, message, values)]

    def _judge(self, status: Status, report: StreamReport) -> tuple[bytes, str]:
        """Diagnostic level of the stream, and one line that says why."""
        fps = self._camera.color.fps
        if status.state is CameraState.CONNECTING:
            return WARN, status.message
        if status.state is not CameraState.STREAMING:
            return ERROR, status.message
        if any(control.problem for control in status.controls):
            return WARN, status.message
        if report.fps < SLOW * fps or report.lost_since:
            return WARN, f"{report.fps:.1f} of {fps} fps, {report.lost_since} frames lost"
        if status.domain is TimestampDomain.SYSTEM_TIME:
            return WARN, "stamps are times of arrival: let the camera's metadata through (udev rules)"
        return OK, status.message


def _image(header: Header, encoding: str, pixels: npt.NDArray) -> Image:
    """An Image of a C-contiguous array.

    Not by cv_bridge, which subscribers decode with: it copies the pixels once more, and its PyPI build cannot write
    messages with NumPy 2. An array.array is taken over as it is; bytes would be checked one by one.
    """
    data = array.array("B")
    data.frombytes(pixels.data.cast("B"))
    height, width = pixels.shape[:2]
    return Image(header=header, height=height, width=width, encoding=encoding, step=pixels.strides[0], data=data)


def _camera_info(header: Header, model: CameraModel) -> CameraInfo:
    return CameraInfo(
        header=header,
        width=model.width,
        height=model.height,
        distortion_model=model.distortion_model,
        d=model.d,
        k=model.k,
        r=model.r,
        p=model.p,
    )


def main(args: list[str] | None = None, devices: Devices = attached, remedies: Remedies = PLUGGED_IN) -> int:
    """Runs the node until SIGINT or SIGTERM. Returns 2 when its parameters or the cell file are wrong, else 0."""
    return run_node("camera_node", partial(CameraNode, devices, remedies), args)
