"""One RealSense camera of the cell as a ROS 2 node.

Parameters: `cell`, path of the cell file; `camera`, name of the camera in it. The graph runs it under that name in the
namespace /cameras; by hand: `camera_node --ros-args -r __ns:=/cameras -r __node:=wrist -p camera:=wrist -p cell:=...`.

Publishes, best effort, stamped with the capture time, in frame `<camera>_color_optical_frame`:
    ~/color/image_raw                      sensor_msgs/Image, rgb8
    ~/color/image_raw/compressed           sensor_msgs/CompressedImage, JPEG 4:2:0
    ~/color/camera_info                    sensor_msgs/CameraInfo
    ~/aligned_depth_to_color/image_raw     sensor_msgs/Image, 16UC1, mm (if the cell file says depth)
    ~/aligned_depth_to_color/camera_info
and /diagnostics at 1 Hz.
"""

from __future__ import annotations

import array
import sys
import time
from collections.abc import Callable

import numpy.typing as npt
import pyrealsense2 as rs
import rclpy
import simplejpeg
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Camera, Cell
from vga_policy.ros import topics
from vga_policy.ros.clocks import every
from vga_policy.ros.lifetime import start_ros
from vga_policy.ros.messages import time_message

from vga_bringup.camera.clock import TimestampDomain
from vga_bringup.camera.device import CameraState, DeviceLoop, Status
from vga_bringup.camera.frames import Frame
from vga_bringup.camera.intrinsics import CameraModel
from vga_bringup.camera.statistics import StreamReport

# Share of the profile's rate below which the stream is reported as slow.
SLOW = 0.9


Devices = Callable[[Cell, Camera], rs.context]


def attached(_cell: Cell, _camera: Camera) -> rs.context:
    """The devices of this computer."""
    return rs.context()


class CameraNode(Node):
    """Publishes what the camera's device loop delivers, from the loop's own thread.

    devices: where to look for a camera of a cell.
    Raises CellError when the cell file is wrong or has no such camera.
    """

    def __init__(self, devices: Devices = attached) -> None:
        super().__init__("camera")
        self._cell, self._camera = self._load_camera()
        self._frame_id = f"{self._camera.name}_color_optical_frame"
        self._image = self.create_publisher(Image, topics.OWN_CAMERA.image, topics.SENSOR_DATA)
        self._compressed = self.create_publisher(CompressedImage, topics.OWN_CAMERA.compressed, topics.SENSOR_DATA)
        self._info = self.create_publisher(CameraInfo, topics.OWN_CAMERA.info, topics.SENSOR_DATA)
        if self._camera.depth:
            self._depth = self.create_publisher(Image, topics.OWN_CAMERA.depth, topics.SENSOR_DATA)
            self._depth_info = self.create_publisher(CameraInfo, topics.OWN_CAMERA.depth_info, topics.SENSOR_DATA)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        every(self, 1.0, self._diagnose)
        self._loop = DeviceLoop(self._camera, self._publish, self._log, devices(self._cell, self._camera))
        self._loop.start()

    def close(self) -> None:
        """Stops the camera."""
        self._loop.stop()

    def _load_camera(self) -> tuple[Cell, Camera]:
        read_only = ParameterDescriptor(read_only=True)
        cell, camera = (self.declare_parameter(name, "", read_only).value for name in ("cell", "camera"))
        if not cell:
            raise CellError("parameter 'cell' is missing: give the path of the cell file with -p cell:=PATH")
        contract = load_cell(cell)
        return contract, contract.camera(camera)

    def _publish(self, frame: Frame) -> None:
        stamp = time_message(frame.capture_ns)
        header = Header(stamp=stamp, frame_id=self._frame_id)
        info = _camera_info(header, frame.model)
        try:
            self._compressed.publish(self._compress(header, frame))
            self._info.publish(info)
            if self._image.get_subscription_count():
                self._image.publish(_image(header, "rgb8", frame.color))
            if self._camera.depth and self._depth.get_subscription_count():
                depth = frame.aligned_depth()
                if depth is not None:
                    self._depth.publish(_image(header, "16UC1", depth))
                    self._depth_info.publish(info)
        except RuntimeError:
            if self.context.ok():  # else ROS was shut down between two lines of this function
                raise

    def _compress(self, header: Header, frame: Frame) -> CompressedImage:
        jpeg = simplejpeg.encode_jpeg(frame.color, self._camera.jpeg_quality, "RGB", "420")
        return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=array.array("B", jpeg))

    def _log(self, status: Status) -> None:
        if status.state is CameraState.STREAMING:
            self.get_logger().info(status.message)
        else:
            self.get_logger().error(status.message)

    def _diagnose(self) -> None:
        status, report = self._loop.status, self._loop.statistics.report(time.monotonic_ns())
        level, message = self._judge(status, report)
        color = self._camera.color
        values = {
            "state": status.state,
            "serial": self._camera.serial,
            "usb": status.identity.usb if status.identity else "",
            "profile": f"{color.width}x{color.height} at {color.fps} fps",
            **{control.name: control for control in status.controls},
            "fps": f"{report.fps:.2f}",
            "frames": report.delivered,
            "frames_lost": report.lost,
            "frames_duplicated": report.duplicates,
            "timestamp_domain": status.domain or "",
            "capture_to_publish_ms": f"{report.latency_ms:.1f}",
            "capture_to_publish_worst_ms": f"{report.worst_latency_ms:.1f}",
        }
        diagnostic = DiagnosticStatus(
            level=level,
            name=f"{self.get_fully_qualified_name()}: stream",
            message=message,
            hardware_id=self._camera.serial,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        header = Header(stamp=self.get_clock().now().to_msg())
        self._diagnostics.publish(DiagnosticArray(header=header, status=[diagnostic]))

    def _judge(self, status: Status, report: StreamReport) -> tuple[bytes, str]:
        """Diagnostic level of the stream, and one line that says why."""
        fps = self._camera.color.fps
        if status.state is CameraState.CONNECTING:
            return DiagnosticStatus.WARN, status.message
        if status.state is not CameraState.STREAMING:
            return DiagnosticStatus.ERROR, status.message
        if any(control.problem for control in status.controls):
            return DiagnosticStatus.WARN, status.message
        if report.fps < SLOW * fps or report.lost_since:
            return DiagnosticStatus.WARN, f"{report.fps:.1f} of {fps} fps, {report.lost_since} frames lost"
        if status.domain is TimestampDomain.SYSTEM_TIME:
            return DiagnosticStatus.WARN, "stamps are times of arrival: let the camera's metadata through (udev rules)"
        return DiagnosticStatus.OK, status.message


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


def main(args: list[str] | None = None, devices: Devices = attached) -> int:
    """Runs the node until SIGINT or SIGTERM. Returns 2 when its parameters or the cell file are wrong, else 0."""
    stop = start_ros(args)
    try:
        node = CameraNode(devices)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            while not stop:
                executor.spin_once(timeout_sec=0.1)
        finally:
            node.close()
            executor.shutdown()
            node.destroy_node()
    except (CellError, ParameterException) as error:
        print(f"camera_node: {error}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()
    return 0
