"""Finding a RealSense by its serial number and choosing what it streams, in words a person can act on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import pyrealsense2 as rs
from vga_policy.cell.schema import Camera

# What the Linux back ends of librealsense say, and its software device, when somebody else streams the camera.
_BUSY = ("busy", "claim", "power state", "is streaming", "already open")


class CameraState(StrEnum):
    """What a camera is doing."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    RECONNECTING = "reconnecting"  # streamed, then went silent or failed
    ABSENT = "absent"  # no device with its serial number
    REFUSED = "refused"  # there, but not usable as the cell file asks


class CameraUnavailable(Exception):  # noqa: N818 - a state of affairs, not a fault of the program
    """The camera cannot be streamed now: the state it is in, and one line that says why and what to do."""

    def __init__(self, state: CameraState, message: str) -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True)
class Identity:
    """Which camera this is: model name, serial number, USB type it is connected by ("3.2")."""

    model: str
    serial: str
    usb: str

    def __str__(self) -> str:
        return f"{self.model}, serial {self.serial}, USB {self.usb}"


@dataclass(frozen=True)
class Remedies:
    """What to do about a camera that is not there, or silent: it depends on where the cameras come from."""

    absent: str
    silent: str


PLUGGED_IN = Remedies(absent="plug it in or correct its serial in the cell file", silent="check its cable")


def identity(device: rs.device) -> Identity:
    """Reads the identity off a device."""
    keys = (rs.camera_info.name, rs.camera_info.serial_number, rs.camera_info.usb_type_descriptor)
    return Identity(*(device.get_info(key) if device.supports(key) else "unknown" for key in keys))


def find_device(context: rs.context, serial: str, remedy: str = PLUGGED_IN.absent) -> rs.device:
    """The device with this serial number; CameraUnavailable naming those that are connected if there is none."""
    present = []
    devices = context.query_devices()
    for index in range(len(devices)):
        try:
            device = devices[index]
            found = device.get_info(rs.camera_info.serial_number)
        except RuntimeError:
            found = "one that another process holds"
        if found == serial:
            return device
        present.append(found)
    raise CameraUnavailable(
        CameraState.ABSENT,
        f"no RealSense with serial {serial} is connected (found: {', '.join(present) or 'none'}); {remedy}; "
        "waiting for it",
    )


def color_sensor(device: rs.device) -> rs.sensor:
    """The sensor that streams color. CameraUnavailable if the device has none."""
    for sensor in device.query_sensors():
        if any(profile.stream_type() == rs.stream.color for profile in sensor.get_stream_profiles()):
            return sensor
    raise CameraUnavailable(CameraState.REFUSED, f"{identity(device)} has no color stream; choose another camera")


def stream_config(device: rs.device, camera: Camera) -> rs.config:
    """The streams the cell file asks for: rgb8 color and, with `depth`, z16 at the same rate and the nearest size.

    Raises CameraUnavailable naming the profiles the device offers.
    """
    width, height, fps = camera.color.width, camera.color.height, camera.color.fps
    config = rs.config()
    offered = list(_video_profiles(device, rs.stream.color, rs.format.rgb8))
    if (width, height, fps) not in offered:
        raise _refused(device, f"color {width}x{height} at {fps} fps", offered)
    config.enable_stream(rs.stream.color, width, height, rs.format.rgb8, fps)
    if camera.depth:
        offered = list(_video_profiles(device, rs.stream.depth, rs.format.z16))
        sizes = [(w, h) for w, h, rate in offered if rate == fps]
        if not sizes:
            raise _refused(device, f"depth at {fps} fps", offered)
        depth_width, depth_height = min(sizes, key=lambda size: abs(size[0] * size[1] - width * height))
        config.enable_stream(rs.stream.depth, depth_width, depth_height, rs.format.z16, fps)
    return config


def start(context: rs.context, device: rs.device, config: rs.config) -> tuple[rs.pipeline, rs.pipeline_profile]:
    """Starts the streams. CameraUnavailable if another process streams the camera or the streams do not fit together.

    The pipeline is bound to the device found: should that be gone by now, starting fails at once. Left to look for the
    serial number by itself, it would wait 15 s for it, holding the interpreter lock.
    """
    pipeline = rs.pipeline(context)
    pipeline.set_device(device)
    if not config.can_resolve(rs.pipeline_wrapper(pipeline)):
        raise CameraUnavailable(CameraState.REFUSED, f"{identity(device)} cannot stream this color and depth together")
    try:
        return pipeline, pipeline.start(config)
    except RuntimeError as error:
        reason = str(error)
        if any(word in reason.lower() for word in _BUSY):
            raise CameraUnavailable(
                CameraState.REFUSED,
                f"{identity(device)} is used by another process ({reason}); close that one; waiting for it",
            ) from None
        raise


def _video_profiles(device: rs.device, stream: rs.stream, pixels: rs.format) -> Iterator[tuple[int, int, int]]:
    for sensor in device.query_sensors():
        for profile in sensor.get_stream_profiles():
            if profile.stream_type() == stream and profile.format() == pixels:
                video = profile.as_video_stream_profile()
                yield video.width(), video.height(), video.fps()


def _refused(device: rs.device, asked: str, offered: list[tuple[int, int, int]]) -> CameraUnavailable:
    rates = defaultdict(set)
    for width, height, fps in offered:
        rates[width, height].add(fps)
    sizes = "; ".join(f"{w}x{h} at {', '.join(map(str, sorted(rates[w, h])))}" for w, h in sorted(rates)) or "none"
    camera = identity(device)
    usb = " (fewer than on USB 3: use a USB 3 port and cable)" if camera.usb.startswith("2") else ""
    return CameraUnavailable(CameraState.REFUSED, f"{camera} does not offer {asked}; it offers {sizes}{usb}")
