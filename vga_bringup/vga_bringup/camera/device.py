"""One RealSense camera, from its serial number to stamped frames: finds it, streams it, outlives its cable.

Runs on a thread of its own and knows nothing of ROS. Whatever happens to the camera becomes a :class:`Status`, and the
thread tries again until it is stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyrealsense2 as rs
from vga_policy.cell.schema import Camera

from vga_bringup.camera.clock import CaptureClock, Refused, TimestampDomain
from vga_bringup.camera.controls import Control, apply_controls
from vga_bringup.camera.discovery import (
    PLUGGED_IN,
    CameraState,
    CameraUnavailable,
    Identity,
    Remedies,
    color_sensor,
    find_device,
    identity,
    start,
    stream_config,
)
from vga_bringup.camera.frames import Frame, FramesetReader
from vga_bringup.camera.statistics import StreamStatistics

RETRY_S = 0.5
FIRST_FRAME_S = 5.0  # a D400 takes up to 2 s from start to its first frame
SILENCE_S = 0.5  # without a frame for as long (or 5 frame periods) a streaming camera is taken for unplugged
RESET_AFTER = 3  # starts in a row without a frame: then the camera is reset, once until frames come again
POLL_MS = 100  # how late the thread may see that it shall stop


@dataclass(frozen=True)
class Status:
    """State of a camera; `message` is one line that says what is the matter and what to do.

    identity, controls (as read back) and domain (the clock of its timestamps) are known while it streams.
    """

    state: CameraState
    message: str
    identity: Identity | None = None
    controls: tuple[Control, ...] = ()
    domain: TimestampDomain | None = None


class DeviceLoop:
    """Streams one camera of the cell for as long as it runs.

    on_frame: called on the loop's thread with every new frame.
    on_status: called on the loop's thread when state or message change, and only then.
    context: where to look for devices; by default those of this computer. remedies: for cameras from there.
    """

    def __init__(
        self,
        camera: Camera,
        on_frame: Callable[[Frame], None],
        on_status: Callable[[Status], None],
        context: rs.context | None = None,
        remedies: Remedies = PLUGGED_IN,
    ) -> None:
        self.camera = camera
        self._remedies = remedies
        self.statistics = StreamStatistics(time.monotonic_ns())
        self.status = Status(CameraState.CONNECTING, "looking for the camera")
        self._on_frame = on_frame
        self._on_status = on_status
        self._context = context if context is not None else rs.context()
        self._clock = CaptureClock()
        self._failures = 0  # starts since a frame came
        self._was_reset = False  # since a frame came
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {camera.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Stops streaming and waits, seconds, for the thread to end. May be called more than once."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._stream()
            except CameraUnavailable as reason:
                self._report(Status(reason.state, str(reason)))
            except Exception as error:  # librealsense raises bare RuntimeErrors, and a cable can cause any of them
                self._failures += 1
                self._report(Status(CameraState.RECONNECTING, f"streaming failed: {error!r}; trying again"))
            # No reference to the device survives to here: librealsense forgets an unplugged one when nobody holds it.
            self._stopping.wait(RETRY_S)

    def _stream(self) -> None:
        """Connects and streams until stopped; raises CameraUnavailable when the camera cannot be streamed any more."""
        device = find_device(self._context, self.camera.serial, self._remedies.absent)
        if self._failures >= RESET_AFTER and not self._was_reset:
            self._reset(device)
        config = stream_config(device, self.camera)
        controls = tuple(apply_controls(color_sensor(device), self.camera))
        pipeline, profile = start(self._context, device, config)
        try:
            self.statistics.restarted()
            self._deliver(pipeline, FramesetReader(profile, self._clock), identity(device), controls)
        finally:
            pipeline.stop()

    def _reset(self, device: rs.device) -> None:
        """Restarts the camera itself, which then is away for some seconds. Raises CameraUnavailable to say so."""
        camera = identity(device)
        self._failures, self._was_reset = 0, True
        device.hardware_reset()
        silent = f"{camera} has sent no frame in {RESET_AFTER} starts: it is being reset"
        raise CameraUnavailable(CameraState.RECONNECTING, silent)

    def _deliver(
        self, pipeline: rs.pipeline, reader: FramesetReader, camera: Identity, controls: tuple[Control, ...]
    ) -> None:
        patience_s, last_arrival = FIRST_FRAME_S, time.monotonic()
        while not self._stopping.is_set():
            arrived, frameset = pipeline.try_wait_for_frames(POLL_MS)
            frame = reader.read(frameset) if arrived else None
            if frame is None or frame is Refused.NO_IMAGE:  # depth alone is no sign of life
                if time.monotonic() - last_arrival > patience_s:
                    self._failures += 1
                    replug = "nor after its reset; replug it, or power-cycle it"
                    remedy = replug if self._was_reset else self._remedies.silent
                    silent = f"{camera} has sent no frame for {patience_s:g} s; {remedy}; reconnecting"
                    raise CameraUnavailable(CameraState.RECONNECTING, silent)
                if frame is not None:
                    self.statistics.refused(frame)
                continue
            self._failures, self._was_reset = 0, False
            patience_s, last_arrival = max(SILENCE_S, 5 / self.camera.color.fps), time.monotonic()
            if isinstance(frame, Refused):
                self.statistics.refused(frame)
                continue
            self.statistics.received(frame.number)
            if self.status.state is not CameraState.STREAMING or self.status.domain is not frame.domain:
                self._report(self._streaming(camera, controls, frame.domain))
            self._on_frame(frame)
            self.statistics.delivered(time.time_ns() - frame.capture_ns)

    def _streaming(self, camera: Identity, controls: tuple[Control, ...], domain: TimestampDomain) -> Status:
        color = self.camera.color
        message = f"{camera} streams {color.width}x{color.height} at {color.fps} fps, stamped by {domain}"
        if unlocked := [f"{control.name} {control}" for control in controls if control.problem]:
            message += f"; not locked: {', '.join(unlocked)}"
        return Status(CameraState.STREAMING, message, camera, controls, domain)

    def _report(self, status: Status) -> None:
        changed = (status.state, status.message) != (self.status.state, self.status.message)
        self.status = status
        if changed:
            self._on_status(status)
